// The camera beside the classes. `collect.js` uses it.
const root = element.querySelector(".camera");
const line = root.querySelector(".status");
const said = (text) => { line.textContent = text; };
const camera = openCamera(root, said);
window.cifselCamera = { ...camera, said, root, series: 0 };
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button?.dataset.do === "start") camera.start();
  if (button?.dataset.do === "stop") {
    window.cifselCamera.series = 0;
    camera.stop();
  }
});
