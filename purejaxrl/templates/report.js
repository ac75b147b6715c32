// Draws each figure when it comes near the screen, in the page's colours, and wires the controls to the figures.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  for (const one of document.querySelectorAll("figure details, details.group")) one.open = false; // figures say the same
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const places = [...document.querySelectorAll(".plot")]; // each with Bokeh's `view`, once it is drawn
  const views = () => places.flatMap((place) => place.view ?? []);
  let syncing = false, zoom = null; // the steps that are zoomed to; null where each figure shows all of its own

  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  function paint(figure) {
    const text = colour("--soft"), line = colour("--line");
    for (const axis of [...figure.below, ...figure.left]) {
      if (axis.axis_label_text_color !== undefined) {
        axis.setv({ axis_label_text_color: text, major_label_text_color: text, axis_line_color: line });
      } else {
        axis.setv({ major_label_text_color: text, title_text_color: text }); // a colour bar
      }
    }
    for (const grid of figure.center) {
      if (grid.grid_line_color) grid.grid_line_color = line;
    }
  }

  function shows(tags) {
    const [series, part] = tags;
    const wanted = document.querySelector(`[data-part="${part}"]`);
    const own = document.querySelector(`[data-series="${series}"]`);
    return (!wanted || wanted.checked) && (!own || own.checked);
  }

  function update(figure) {
    for (const renderer of figure.renderers) {
      if (renderer.glyph.tags.length) renderer.visible = shows(renderer.glyph.tags);
    }
  }

  // Curves share their axis of steps: who zooms into one looks at the same time in all, those drawn later included.
  function look(range, to, byHand) {
    range.have_updated_interactively = byHand; // then Bokeh does not fit it to the data again
    range.setv({ start: to.start, end: to.end });
  }

  function link(place) {
    const range = place.view.model.x_range;
    if (zoom) look(range, zoom, true);
    range.change.connect(() => {
      if (syncing) return;
      syncing = true;
      const byHand = range.have_updated_interactively;
      zoom = byHand ? { start: range.start, end: range.end } : null;
      for (const other of places) {
        if (other !== place && other.view && other.id.startsWith("curve-")) look(other.view.model.x_range, range, byHand);
      }
      syncing = false;
    });
  }

  async function draw(place) {
    const item = document.querySelector(`script[data-for="${place.id}"]`);
    if (place.dataset.drawn) return;
    place.dataset.drawn = "begun";
    const [view] = await Bokeh.embed.embed_item(JSON.parse(item.textContent));
    place.view = view;
    paint(view.model);
    update(view.model);
    if (place.id.startsWith("curve-")) link(place);
    if (matchMedia("(pointer: fine)").matches) { // on a touch screen the finger scrolls the page
      const zoom = view.model.toolbar.tools.find((tool) => tool.type === "BoxZoomTool");
      if (zoom) zoom.active = true;
    }
    place.dataset.drawn = "done";
  }

  const watch = new IntersectionObserver((seen) => {
    for (const one of seen) if (one.isIntersecting) { watch.unobserve(one.target); draw(one.target); }
  }, { rootMargin: "600px" });
  places.forEach((place) => watch.observe(place));

  dark.addEventListener("change", () => views().forEach((view) => paint(view.model)));
  addEventListener("beforeprint", () => places.forEach(draw));
  for (const box of document.querySelectorAll(".controls input")) {
    box.addEventListener("change", () => views().forEach((view) => update(view.model)));
  }
  document.querySelector("[data-reset]")?.addEventListener("click", () => {
    syncing = true; // each resets to what it has itself
    zoom = null;
    views().forEach((view) => view.reset());
    syncing = false;
  });

  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const text = button.previousElementSibling.textContent;
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "copied";
      } catch { // no right to the clipboard: select it, so that one key copies
        getSelection().selectAllChildren(button.previousElementSibling);
        button.textContent = "selected";
      }
      setTimeout(() => { button.textContent = "copy"; }, 2000);
    });
  }

  for (const button of document.querySelectorAll("[data-pause]")) {
    const image = button.closest("figure").querySelector("img"), moving = image.src;
    const set = (paused) => {
      image.src = paused ? image.dataset.still : moving;
      button.textContent = paused ? "play" : "pause";
      button.setAttribute("aria-label", `${button.textContent} ${button.dataset.pause}`);
    };
    button.addEventListener("click", () => set(image.src === moving));
    set(still.matches);
  }
})();
