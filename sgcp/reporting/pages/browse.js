"use strict";
// The slider mixes image and label; the pointer over a label names the class below it.
const blend = document.getElementById("blend");
const mix = () => document.documentElement.style.setProperty("--blend", blend.value / 100);
blend.addEventListener("input", mix);
mix();

const rows = JSON.parse(document.getElementById("legend").textContent);
// No two safe colours are equal, so a colour identifies its class.
const classes = new Map([["#000000", "ignored"], ...rows.map(([name, , safe]) => [safe, name])]);
const tip = document.getElementById("class-name");

function pixels(image) {
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context;
}

for (const truth of document.querySelectorAll(".truth")) {
  const under = truth.querySelector(".under");
  under.src = truth.parentElement.querySelector(".photo").src;
  under.hidden = false;
  const labels = truth.querySelector(".label.safe");
  let context = null;
  truth.addEventListener("pointermove", (event) => {
    context ??= pixels(labels);
    const box = truth.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * labels.naturalWidth);
    const y = Math.floor(((event.clientY - box.top) / box.height) * labels.naturalHeight);
    const color = context.getImageData(x, y, 1, 1).data;
    const code = "#" + [...color.slice(0, 3)].map((c) => c.toString(16).padStart(2, "0")).join("");
    tip.textContent = classes.get(code) ?? "";
    tip.hidden = !tip.textContent;
    tip.style.left = `${Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 4)}px`;
    tip.style.top = `${event.clientY + 16}px`;
  });
  truth.addEventListener("pointerleave", () => { tip.hidden = true; });
}
