// The demo. A file, or each frame of the camera, goes to /label, which returns a label map and, if
// asked, the confidence of its pixels. They are painted here, so that colours, classes and the line
// change at once. Of a video, a painted video comes back.
const part = (id) => document.getElementById(id);
const chosen = (name) => document.querySelector(`[name=${name}]:checked`).value;
const RAMP = [[13, 8, 135], [204, 71, 120], [240, 249, 33]]; // low, middle and high confidence
const GONE = "the server does not answer. Start sgcp demo again";
const WHILE = 2000; // milliseconds of which the camera's rate is
const hidden = new Set(); // names of classes that are switched off
let offer = null; // what the server offers
let file = null; // the one that was dropped
let shown = null; // name, width, height, ids, confidence, classes, labels: of the image
let running = null; // ends what runs: a request, or the camera

// Send a body to be labelled; return what came back, its parts as blobs by name.
async function ask(body, query, signal, progress = () => {}) {
  const address = "/label?" + new URLSearchParams(query);
  const response = await fetch(address, { method: "POST", body, signal }).catch(() => {
    signal.throwIfAborted();
    throw new Error(GONE);
  });
  if (!response.ok) throw new Error(await response.text());
  const reader = response.body.getReader();
  const chunks = [];
  let answer = null;
  let rest = new Uint8Array();
  for (let step = await reader.read(); !step.done; step = await reader.read()) {
    if (answer) {
      chunks.push(step.value);
      continue;
    }
    const joined = new Uint8Array(rest.length + step.value.length);
    joined.set(rest);
    joined.set(step.value, rest.length);
    rest = joined;
    for (let end = rest.indexOf(10); end >= 0 && !answer; end = rest.indexOf(10)) {
      const line = JSON.parse(new TextDecoder().decode(rest.subarray(0, end)));
      rest = rest.subarray(end + 1);
      if (line.parts || line.error) answer = line;
      else progress(line);
    }
    if (answer) chunks.push(rest);
  }
  if (answer?.error) throw new Error(answer.error);
  const content = new Blob(chunks);
  const parts = {};
  let from = 0;
  for (const [name, size] of Object.entries(answer?.parts ?? {})) {
    parts[name] = content.slice(from, from + size);
    from += size;
  }
  if (!answer || content.size !== from) throw new Error(GONE);
  return { ...answer, parts };
}

function settings() {
  return {
    model: part("model").value,
    engine: part("engine").value,
    scales: part("scales").value,
    flip: part("flip").checked,
    strength: part("strength").value / 100,
  };
}

// Run a task that ends when another one begins, or at Cancel; say what went wrong.
async function run(task) {
  running?.abort();
  const own = running = new AbortController();
  part("camera").textContent = "Start the camera";
  try {
    await task(own.signal);
    if (running === own) say("");
  } catch (error) {
    if (running === own && error.name !== "AbortError") say(error.message, { error: true });
  } finally {
    if (running === own) {
      running = null;
      part("progress").hidden = part("cancel").hidden = true;
    }
  }
}

function say(text, { error = false } = {}) {
  part("status").textContent = error ? `That did not work: ${text}` : text;
  part("status").className = error ? "error" : "";
}

function showProgress({ waiting, done = 0, total = null, rate }) {
  const bar = part("progress");
  bar.hidden = part("cancel").hidden = false;
  bar.removeAttribute("value");
  if (total) Object.assign(bar, { max: total, value: done });
  if (waiting) say("Waiting for another file");
  else say(done ? `${done}${total ? ` of ${total}` : ""} frames, ${rate} frames/s` : "Labelling");
}

function labelFile() {
  return run(async (signal) => {
    if (file.size > offer.max_bytes) throw new Error(`${file.name}: too large. ${offer.limits}`);
    showProgress({});
    const query = { ...settings(), name: file.name, confidence: true };
    const answer = await ask(file, query, signal, showProgress);
    part("again").hidden = part("video").hidden = !answer.parts.video;
    part("image").hidden = part("downloads").hidden = !answer.parts.labels;
    URL.revokeObjectURL(part("video").src);
    part("video").removeAttribute("src");
    if (answer.parts.video) showVideo(answer);
    else await showImage(file.name, await createImageBitmap(answer.parts.image), answer);
  });
}

function runCamera() {
  return run(async (signal) => {
    if (!navigator.mediaDevices) {
      throw new Error("browsers give the camera to pages of localhost and https only. Open this page on its own machine");
    }
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
    try {
      await labelFrames(stream, signal);
    } finally {
      for (const track of stream.getTracks()) track.stop();
    }
  });
}

async function labelFrames(stream, signal) {
  const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, srcObject: stream });
  await video.play();
  part("camera").textContent = "Stop the camera";
  say("Labelling the camera's frames");
  part("again").hidden = part("video").hidden = true;
  part("image").hidden = part("downloads").hidden = false;
  const ends = [];
  while (stream.active) {
    const frame = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    frame.getContext("2d").drawImage(video, 0, 0);
    const start = performance.now();
    const jpeg = await frame.convertToBlob({ type: "image/jpeg", quality: 0.9 });
    const confidence = chosen("show") === "confidence" || part("threshold").value > 0;
    const answer = await ask(jpeg, { ...settings(), name: "camera", confidence, frame: true }, signal);
    const end = performance.now();
    ends.push(end);
    while (ends[0] < end - WHILE) ends.shift();
    const rate = ends.length < 2 ? "" : `${(1000 * (ends.length - 1) / (end - ends[0])).toFixed(1)} frames/s`;
    answer.facts = { Camera: rate, Latency: `${Math.round(end - start)} ms`, ...answer.facts };
    await showImage("camera", frame, answer);
  }
  throw new Error("the camera was disconnected");
}

function showVideo(answer) {
  shown = null;
  part("video").src = URL.createObjectURL(answer.parts.video);
  describe(answer);
}

async function showImage(name, photo, answer) {
  const { labels, confidence } = answer.parts;
  const { width, height } = photo;
  const ids = await readGrey(labels);
  shown = { name, width, height, ids, labels, classes: answer.classes, confidence: confidence && await readGrey(confidence) };
  const canvas = part("photo");
  for (const one of [canvas, part("overlay")]) {
    if (one.width !== width || one.height !== height) Object.assign(one, { width, height });
  }
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // below what is transparent
  context.fillRect(0, 0, width, height);
  context.drawImage(photo, 0, 0);
  part("stage").style.width = `min(100%, ${80 * width / height}vh)`;
  describe(answer);
  paint();
}

// The values of a grey image.
async function readGrey(png) {
  const image = await createImageBitmap(png, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  return new Uint8Array(data.length / 4).map((_, place) => data[4 * place]);
}

function describe({ facts, classes }) {
  part("facts").replaceChildren(...Object.entries(facts).map(([name, value]) => {
    const row = document.createElement("div");
    row.append(make("dt", name), make("dd", value));
    return row;
  }));
  part("classes").hidden = false;
  const names = classes.map((item) => item.name).join("\n");
  if (part("legend").dataset.names !== names) {
    part("legend").dataset.names = names;
    part("legend").replaceChildren(...classes.map(legendItem));
  }
  const shares = part("legend").querySelectorAll("span:last-child");
  classes.forEach((item, id) => { shares[id].textContent = `${(100 * item.share).toFixed(1)} %`; });
}

function make(tag, text, className = "") {
  return Object.assign(document.createElement(tag), { textContent: text, className });
}

function legendItem({ name, color }, id) {
  const box = Object.assign(document.createElement("input"), { type: "checkbox", value: name, checked: !hidden.has(name) });
  const swatch = make("span", "", "swatch");
  swatch.style.background = `rgb(${color})`;
  const label = make("label", "", "check");
  label.append(box, swatch, `${id} ${name}`, make("span", ""));
  const item = document.createElement("li");
  item.append(label);
  return item;
}

// A colour as canvases store it on machines of today: alpha in the highest byte.
const pack = ([red, green, blue]) => (0xff000000 | blue << 16 | green << 8 | red) >>> 0;

function rampColor(level) {
  const [low, high] = level < 128 ? [RAMP[0], RAMP[1]] : [RAMP[1], RAMP[2]];
  const share = (level % 128) / 127;
  return low.map((channel, index) => Math.round(channel + share * (high[index] - channel)));
}

function paint() {
  part("ramp").hidden = chosen("show") === "classes";
  if (!shown) return;
  const { ids, confidence, classes, width, height } = shown;
  const heat = chosen("show") === "confidence" && confidence && Uint32Array.from({ length: 256 }, (_, level) => pack(rampColor(level)));
  const colors = new Uint32Array(256);
  classes.forEach(({ name, color }, id) => { colors[id] = hidden.has(name) ? 0 : pack(color); });
  const least = confidence ? 2.55 * part("threshold").value : 0;
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let place = 0; place < pixels.length; place += 1) {
    const color = colors[ids[place]];
    if (color === 0 || (least && confidence[place] < least)) continue;
    pixels[place] = heat ? heat[confidence[place]] : color;
  }
  part("overlay").getContext("2d").putImageData(image, 0, 0);
}

function moveLine(place) {
  part("place").value = place;
  part("overlay").style.clipPath = `inset(0 0 0 ${place}%)`;
  part("line").style.left = `${place}%`;
}

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function saveView() {
  const canvas = new OffscreenCanvas(shown.width, shown.height);
  const context = canvas.getContext("2d");
  context.drawImage(part("photo"), 0, 0);
  context.globalAlpha = part("strength").value / 100;
  context.drawImage(part("overlay"), 0, 0);
  const suffix = chosen("show") === "confidence" ? "confidence" : "overlay";
  save(await canvas.convertToBlob(), `${stem()}_${suffix}.png`);
}

const stem = () => shown.name.replace(/\.[^.]*$/, "");

function switchClasses(names, on) {
  for (const name of names) on ? hidden.delete(name) : hidden.add(name);
  for (const box of part("legend").querySelectorAll("input")) box.checked = !hidden.has(box.value);
  paint();
}

function take(files) {
  if (!files.length) return;
  [file] = files;
  labelFile();
}

function showValues() {
  for (const span of document.querySelectorAll("[data-of]")) span.textContent = `${part(span.dataset.of).value} %`;
  part("overlay").style.opacity = part("strength").value / 100;
}

async function begin() {
  offer = await (await fetch("/offer")).json();
  part("limits").textContent = offer.limits;
  part("file").accept = ["image/*", "video/*", ...offer.suffixes].join();
  for (const [id, values] of [["model", offer.models], ["engine", offer.engines], ["scales", offer.scales]]) {
    part(id).replaceChildren(...values.map((value) => new Option(value)));
  }
  part("ramp").firstElementChild.style.background = `linear-gradient(to right, ${RAMP.map((color) => `rgb(${color})`)})`;
  showValues();
  moveLine(0);
  paint();
  if (part("file").files.length) take(part("file").files); // chosen before a reload
}

part("file").addEventListener("change", () => take(part("file").files));
part("camera").addEventListener("click", () => (part("camera").textContent.startsWith("Stop") ? run(async () => {}) : runCamera()));
part("cancel").addEventListener("click", () => run(async () => {}).then(() => say("Cancelled.")));
part("again").addEventListener("click", labelFile);
part("save-labels").addEventListener("click", () => save(shown.labels, `${stem()}_labels.png`));
part("save-view").addEventListener("click", saveView);
part("all").addEventListener("click", () => switchClasses([...hidden], true));
part("none").addEventListener("click", () => switchClasses(shown?.classes.map((item) => item.name) ?? [], false));
part("legend").addEventListener("change", ({ target }) => switchClasses([target.value], target.checked));
part("place").addEventListener("input", () => moveLine(part("place").value));
for (const id of ["model", "engine", "scales", "flip"]) {
  part(id).addEventListener("change", () => { if (shown && shown.name !== "camera" && file) labelFile(); });
}
for (const id of ["strength", "threshold"]) part(id).addEventListener("input", showValues);
for (const id of ["threshold", ...document.getElementsByName("show")]) {
  (part(id) ?? id).addEventListener("input", paint);
}
for (const kind of ["pointerdown", "pointermove"]) {
  part("stage").addEventListener(kind, (event) => {
    if (event.buttons) moveLine(100 * Math.min(1, Math.max(0, (event.clientX - part("stage").getBoundingClientRect().left) / part("stage").clientWidth)));
  });
}
for (const kind of ["dragover", "dragleave", "drop"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files);
  });
}
begin();
