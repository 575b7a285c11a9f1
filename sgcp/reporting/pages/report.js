// The image viewers. A viewer has a photo and two label maps, whose red channel is train id + 1,
// or 0 where nothing is scored. Each of its views is painted when colours change; moving the line
// between the two sides only puts them together anew.
const WRONG = JSON.parse(document.getElementById("legend")?.dataset.wrong ?? "[]");
const buttons = [...document.querySelectorAll("#legend .classes button")];
const viewers = [...document.querySelectorAll(".viewer")].map(openViewer);

function readPixels(image) {
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height).data;
}

function openViewer(figure) {
  const canvas = figure.querySelector("canvas");
  const viewer = { figure, canvas, pixels: {}, views: {} };
  const images = [...figure.querySelectorAll("img")];
  viewer.ready = Promise.all(images.map((image) => image.decode())).then(() => {
    for (const image of images) viewer.pixels[image.dataset.view] = readPixels(image);
  });
  figure.addEventListener("input", () => compose(viewer));
  return viewer;
}

// How each class is painted: null where it is switched off.
function chosenColors() {
  const palette = document.querySelector("[name=palette]:checked").value;
  return buttons.map((button) => {
    const color = button.dataset[palette];
    button.querySelector(".swatch").style.background = color;
    const channels = [1, 3, 5].map((place) => parseInt(color.slice(place, place + 2), 16));
    return button.getAttribute("aria-pressed") === "true" ? channels : null;
  });
}

const painters = {
  image: (id, other, photo) => photo,
  truth: (id, other, photo, colors) => (id === 0 ? [0, 0, 0] : colors[id - 1] ?? photo),
  prediction: (id, other, photo, colors) => colors[other - 1] ?? photo,
  errors: (id, other, photo, colors) => {
    if (id === 0) return [0, 0, 0];
    if (colors[id - 1] === null) return photo;
    if (id !== other) return WRONG;
    const grey = 0.3 * photo[0] + 0.59 * photo[1] + 0.11 * photo[2];
    return [grey, grey, grey];
  },
};

function paint(viewer, colors) {
  const { image, truth, prediction } = viewer.pixels;
  const { width, height } = viewer.canvas;
  for (const [name, painter] of Object.entries(painters)) {
    const view = new ImageData(width, height);
    for (let at = 0; at < view.data.length; at += 4) {
      const photo = [image[at], image[at + 1], image[at + 2]];
      const [red, green, blue] = painter(truth[at], prediction[at], photo, colors);
      view.data[at] = red;
      view.data[at + 1] = green;
      view.data[at + 2] = blue;
      view.data[at + 3] = 255;
    }
    viewer.views[name] = view;
  }
  compose(viewer);
}

function compose({ figure, canvas, views }) {
  const context = canvas.getContext("2d");
  const chosen = (side) => views[document.querySelector(`[name=${side}]:checked`).value];
  const line = Math.round(canvas.width * figure.querySelector("input[type=range]").value / 100);
  context.putImageData(chosen("right"), 0, 0);
  context.putImageData(chosen("left"), 0, 0, 0, 0, line, canvas.height);
  context.fillStyle = "#000";
  context.fillRect(line - 2, 0, 4, canvas.height);
  context.fillStyle = "#fff";
  context.fillRect(line - 1, 0, 2, canvas.height);
  context.beginPath();
  context.arc(line, canvas.height / 2, canvas.width / 60, 0, 2 * Math.PI);
  context.fill();
}

function repaint() {
  const colors = chosenColors();
  for (const viewer of viewers) viewer.ready.then(() => paint(viewer, colors));
}

document.getElementById("legend")?.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const pressed = button.dataset.all ?? String(button.getAttribute("aria-pressed") === "false");
  for (const one of button.dataset.all ? buttons : [button]) one.setAttribute("aria-pressed", pressed);
  repaint();
});
document.getElementById("legend")?.addEventListener("change", repaint);
if (viewers.length) repaint();
