"""Names and colours of models, which are the same in every picture."""

from collections.abc import Sequence

from cifsel.reports.layout import marker_style

# Places among the colours of `layout`. EfficientNetV2 is blue and MobileNet orange everywhere, in
# the README as well.
_PLACES = {"efficientnetv2": 0, "mobilenet": 1}


def model_name(model: str) -> str:
    """Writes the name of a model as people do: 'MobileNet', 'EfficientNetV2-B0'."""
    family, _, variant = model.partition("-")
    family = {"mobilenet": "MobileNet", "efficientnetv2": "EfficientNetV2"}.get(family, family)
    variant = variant if variant == "mini" else variant.upper()
    return f"{family}-{variant}" if variant else family


def places(models: Sequence[str]) -> list[int]:
    """Gives each of the compared models a place among the colours and markers of `layout`.

    The first of a family gets the family's own place. All others get the places that are left, in
    their order.

    Args:
      models: names in the config. The same name may come several times.
    """
    families = [model.partition("-")[0] for model in models]
    own = {
        index: _PLACES[family]
        for index, family in enumerate(families)
        if family in _PLACES and index == families.index(family)
    }
    free = (place for place in range(2 * len(models)) if place not in own.values())
    return [own[index] if index in own else next(free) for index in range(len(models))]


def colour(model: str) -> str:
    """Returns the colour of a model that is alone, or the first of its family."""
    return str(marker_style(places([model])[0])["color"])
