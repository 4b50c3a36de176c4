// The camera of the page: a video, and JPEGs of it of at most 768 px.
const openCamera = (root, said) => {
  const video = root.querySelector("video");
  const start = async () => {
    if (video.srcObject) return true;
    if (!navigator.mediaDevices) {
      said("Browsers give the camera only to https pages and to localhost. Upload photos instead.");
      return false;
    }
    try {
      const wanted = { facingMode: "user", width: { ideal: 640 }, height: { ideal: 480 } };
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
      await video.play();
    } catch (error) {
      video.srcObject = null;
      said(`The camera cannot be used (${error.name}). Upload photos instead.`);
      return false;
    }
    root.classList.add("on");
    return true;
  };
  const stop = () => {
    video.srcObject?.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    root.classList.remove("on");
  };
  const picture = (most) => {
    if (!video.videoWidth) return null;
    const scale = Math.min(1, most / Math.max(video.videoWidth, video.videoHeight));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    return canvas.toDataURL("image/jpeg", 0.92);
  };
  return { start, stop, picture, isOn: () => Boolean(video.srcObject) };
};
