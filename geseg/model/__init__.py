"""Groups, steerable layers, the U-Net and the model file; torch."""
