// The classes: takes photos with the camera beside them, uploads files, renames and deletes.
const camera = () => window.cifselCamera;
const said = (text) => camera().said(text);
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

const shoot = async (name) => {
  const { start, picture, root } = camera();
  if (!(await start())) return false;
  for (let tries = 0; tries < 40 && !picture(8); tries += 1) await pause(50);
  const image = picture(768);
  if (!image) return false;
  root.classList.add("flash");
  setTimeout(() => root.classList.remove("flash"), 150);
  trigger("shot", { class: name, image });
  return true;
};
const shootMany = async (name, number) => {
  const mine = Date.now();
  camera().series = mine;
  for (let taken = 0; taken < number && camera().series === mine; taken += 1) {
    said(`${name}: photo ${taken + 1} of ${number}. Change something between photos.`);
    if (!(await shoot(name))) return;
    await pause(2000);
  }
  if (camera().series === mine) said("");
};
const send = async (name, files) => {
  const sent = [];
  for (const [place, file] of files.entries()) {
    said(`Uploading ${place + 1} of ${files.length}`);
    try {
      const { path } = await upload(file);
      sent.push({ path, name: file.webkitRelativePath || file.name });
    } catch (error) {
      said(`${file.name} could not be uploaded: it may be too large.`);
    }
  }
  if (sent.length === files.length) said("");
  if (sent.length) trigger("files", { class: name, files: sent });
};
const nameOf = (target) => target.closest(".card")?.dataset.class ?? "";

element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (!button) return;
  const name = nameOf(button);
  const photo = button.closest("[data-photo]")?.dataset.photo;
  if (button.dataset.do === "shoot") { camera().series = 0; shoot(name); }
  if (button.dataset.do === "series") shootMany(name, 12);
  if (button.dataset.do === "erase") trigger("erase", { photo });
  if (button.dataset.do === "more") trigger("more", {});
  if (button.dataset.do === "drop" && confirm(`Delete the class ${name} and its photos?`))
    trigger("drop", { class: name });
});
element.addEventListener("change", (event) => {
  const input = event.target;
  if (input.matches(".name")) trigger("rename", { class: nameOf(input), name: input.value });
  if (input.type === "file" && input.files.length) {
    send(nameOf(input), [...input.files]);
    input.value = "";
  }
});
