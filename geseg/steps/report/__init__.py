"""The page of `geseg eval --report`: words, charts and pictures of an evaluation in one file, and what styles it."""
