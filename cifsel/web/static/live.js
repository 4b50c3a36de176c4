// The camera that asks the classifier all the time, one picture after the other.
const root = element.querySelector(".camera");
const line = root.querySelector(".status");
const said = (text) => { line.textContent = text; };
const camera = openCamera(root, said);
const MOST = 640; // pixels
const LONGEST = 60_000; // milliseconds until an answer, as the first one waits for compilation
let waiting = 0;

const ask = () => {
  if (!camera.isOn() || document.hidden) return;
  const image = camera.picture(MOST);
  if (!image) return;
  waiting = Date.now();
  trigger("frame", { image });
};
// The page calls this when an answer has come.
window.cifselAnswered = () => { waiting = 0; setTimeout(ask, 50); };
// An answer may get lost, and a hidden page stops asking.
setInterval(() => { if (Date.now() - waiting > LONGEST) ask(); }, 500);

element.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-do]");
  if (button?.dataset.do === "start" && (await camera.start())) setTimeout(ask, 200);
  if (button?.dataset.do === "stop") camera.stop();
});
element.addEventListener("change", async (event) => {
  const file = event.target.files?.[0];
  if (!file) return;
  camera.stop();
  said("Uploading");
  try {
    const { path } = await upload(file);
    said("");
    trigger("photo", { path, name: file.name });
  } catch (error) {
    said(`${file.name} could not be uploaded: it may be too large.`);
  }
  event.target.value = "";
});
