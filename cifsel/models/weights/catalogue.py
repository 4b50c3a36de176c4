"""The weight files that keras.applications publishes: names, addresses, hashes.

The MD5 of each EfficientNetV2 file is Keras's own (WEIGHTS_HASHES in
keras/applications/efficientnet_v2.py). Keras publishes none for MobileNet. The SHA-256 over the
tensors (`keras_h5.tensors_sha256`) is ours, and stands here for alpha 1.0 at 224 pixels. The other
MobileNet files have no hash here.
"""

from dataclasses import dataclass

from cifsel.errors import UserError

MOBILENET_URL = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/"
EFFICIENTNET_URL = "https://storage.googleapis.com/tensorflow/keras-applications/efficientnet_v2/"

MOBILENET_ALPHAS = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}
MOBILENET_RESOLUTIONS = (128, 160, 192, 224)
# Alpha 1.0 at 224 px, by whether the classifier is inside.
MOBILENET_1_0_224_SHA256 = {
    True: "28b0d215a62995196bbc27039db9bbe7ce203769bbf35eb4b97846fbbd8ea2cd",
    False: "845da4e4c509a8a9b42b96c6d8327d0bfd815b4d3e046d3a77bed67be98074ec",
}
# (with classifier, without).
EFFICIENTNET_MD5 = {
    "b0": ("21ecbf6da12460d5c40bb2f29ceb2188", "893217f2bb855e2983157299931e43ff"),
    "b1": ("069f0534ff22adf035c89e2d9547a9dc", "0e80663031ca32d657f9caa404b6ec37"),
    "b2": ("424e49f28180edbde1e94797771950a7", "1dfe2e7a5d45b6632553a8961ea609eb"),
    "b3": ("1f1fc43bd98a6e4fd8fdfd551e02c7a0", "f6abf7b5849ac99a89b50dd3fd532856"),
    "s": ("e1d88a8495beba45748fedd0cecbe016", "af0682fb74e8c54910f2d4393339c070"),
    "m": ("a3bf6aa3276309f4fc6a34aa114c95cd", "1b8dc055df72dde80d614482840fe342"),
    "l": ("27e6d408b53c7ebc868fefa357689935", "b0b66b5c863aef5b46e8608fe1711615"),
}


@dataclass(frozen=True)
class PublishedFile:
    """A published file.

    Attributes:
      name: as published.
      url: its address.
      md5: of the file's bytes, in hex. None if the publisher gives none.
      tensors_sha256: of its tensors, in hex. None if unknown.
    """

    name: str
    url: str
    md5: str | None = None
    tensors_sha256: str | None = None


def published(model: str, *, alpha: float, resolution: int, top: bool) -> PublishedFile:
    """Names the published file for a model.

    Args:
      model: 'mobilenet' or 'efficientnetv2-' and b0 to b3, s, m or l.
      alpha: MobileNet's width. Ignored for EfficientNetV2.
      resolution: in pixels, at which MobileNet was trained. Ignored for EfficientNetV2.
      top: with the ImageNet classifier.

    Raises:
      UserError: nothing is published for these.
    """
    instead = "or weights=none to train from scratch"
    if model == "mobilenet":
        if alpha not in MOBILENET_ALPHAS:
            valid = ", ".join(map(str, sorted(MOBILENET_ALPHAS)))
            raise UserError(f"alpha={alpha}: no such weights; use one of {valid}, {instead}")
        if resolution not in MOBILENET_RESOLUTIONS:
            valid = ", ".join(map(str, MOBILENET_RESOLUTIONS))
            raise UserError(
                f"weights_resolution={resolution}: no such weights; use one of {valid}, {instead}"
            )
        name = f"mobilenet_{MOBILENET_ALPHAS[alpha]}_{resolution}_tf{'' if top else '_no_top'}.h5"
        known = MOBILENET_1_0_224_SHA256[top] if (alpha, resolution) == (1.0, 224) else None
        return PublishedFile(name, MOBILENET_URL + name, tensors_sha256=known)
    variant = model.removeprefix("efficientnetv2-")
    if variant not in EFFICIENTNET_MD5 or variant == model:
        valid = ", ".join(["mobilenet", *(f"efficientnetv2-{v}" for v in EFFICIENTNET_MD5)])
        raise UserError(f"model={model}: no such weights; use one of {valid}, {instead}")
    name = f"{model}{'' if top else '_notop'}.h5"
    return PublishedFile(name, EFFICIENTNET_URL + name, md5=EFFICIENTNET_MD5[variant][not top])
