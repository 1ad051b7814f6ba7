"use strict";
// Sorting and zoom; everything else on the page works without a script.
(() => {
  const gallery = document.getElementById("gallery");
  const buttons = [...document.querySelectorAll("[data-by]")];
  const order = document.querySelector(".order");
  const names = new Intl.Collator("en", { numeric: true });
  let by = "dice", upwards = true;

  function compare(a, b) {
    if (by === "name") return (upwards ? 1 : -1) * names.compare(a.dataset.name, b.dataset.name);
    const x = a.dataset[by], y = b.dataset[by];
    if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1); // what is undefined comes last
    return (upwards ? 1 : -1) * (x - y);
  }

  for (const button of buttons) {
    button.addEventListener("click", () => {
      upwards = button.dataset.by !== by || !upwards;
      by = button.dataset.by;
      gallery.append(...[...gallery.children].sort(compare));
      for (const other of buttons) other.setAttribute("aria-pressed", other === button);
      order.textContent = by === "name" ? (upwards ? "from A to Z" : "from Z to A") : upwards ? "worst first" : "best first";
    });
  }

  const dialog = document.getElementById("zoom");
  const stage = dialog.querySelector(".stage"), large = new Image();
  const kinds = dialog.querySelector(".sort"), size = dialog.querySelector("output");
  const STEPS = [0, 1, 2, 3, 4, 6, 8]; // times the pixels of the picture; 0 fits the window
  let card = null, place = 0, step = 0;

  const pictures = () => [...card.querySelectorAll(".plates img")];

  function show() {
    const images = pictures(), image = images[place];
    if (large.src !== image.src) large.src = image.src;
    large.alt = image.alt;
    document.getElementById("zoom-name").textContent = card.dataset.name;
    const focused = kinds.contains(document.activeElement); // by keys; Safari focuses no button that is clicked
    kinds.replaceChildren(...images.map((other, number) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = other.parentElement.dataset.kind;
      button.title = `key ${number + 1}`;
      button.setAttribute("aria-pressed", number === place);
      button.addEventListener("click", () => { place = number; show(); kinds.children[number].focus(); });
      return button;
    }));
    if (focused) kinds.children[place].focus();
    scale(step);
  }

  // The point of the picture at (x, y), shares of its sides, stays in the middle of the window.
  function scale(next, x, y) {
    const old = large.getBoundingClientRect(), frame = stage.getBoundingClientRect();
    x ??= old.width ? (frame.left + frame.width / 2 - old.left) / old.width : 0.5;
    y ??= old.height ? (frame.top + frame.height / 2 - old.top) / old.height : 0.5;
    step = Math.min(Math.max(next, 0), STEPS.length - 1);
    const times = STEPS[step], image = pictures()[place];
    stage.classList.toggle("fit", !times);
    stage.classList.toggle("close", times > 1);
    const fit = Math.min(stage.clientWidth / image.naturalWidth, stage.clientHeight / image.naturalHeight);
    large.style.width = `${image.naturalWidth * (times || fit)}px`;
    large.style.height = `${image.naturalHeight * (times || fit)}px`;
    large.style.cursor = step ? "zoom-out" : "zoom-in";
    size.textContent = times ? `${times}×` : "fit";
    if (!times) return;
    stage.scrollLeft = x * large.offsetWidth - stage.clientWidth / 2;
    stage.scrollTop = y * large.offsetHeight - stage.clientHeight / 2;
  }

  function turn(by) {
    const next = by > 0 ? card.nextElementSibling : card.previousElementSibling;
    if (!next) return;
    card = next;
    show();
  }

  const actions = {
    previous: () => turn(-1), next: () => turn(1), close: () => dialog.close(),
    smaller: () => scale(step - 1), larger: () => scale(step + 1),
  };
  const keys = { ArrowLeft: "previous", ArrowRight: "next", "-": "smaller", "+": "larger", "=": "larger" };

  gallery.addEventListener("click", (event) => {
    const button = event.target.closest(".plates button");
    if (!button) return;
    card = button.closest(".card");
    place = pictures().indexOf(button.querySelector("img"));
    step = 0;
    stage.replaceChildren(large);
    dialog.showModal();
    stage.focus();
    show();
  });
  dialog.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (button) actions[button.dataset.do]();
  });
  large.addEventListener("click", (event) => {
    const box = large.getBoundingClientRect();
    if (step) scale(0);
    else scale(3, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const number = "1234".indexOf(event.key);
    const magnified = step && event.key.startsWith("Arrow"); // arrows then move the picture
    if (magnified) stage.focus(); // from the button that magnified
    if (number >= 0) { place = number; show(); }
    else if (keys[event.key] && !magnified) { actions[keys[event.key]](); event.preventDefault(); }
  });
  dialog.addEventListener("close", () => {
    large.remove();
    card.scrollIntoView({ block: "nearest" });
    pictures()[place].parentElement.focus();
  });
  window.addEventListener("resize", () => { if (dialog.open) scale(step); });
})();
