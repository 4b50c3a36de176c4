import numpy as np
import pytest

from cifsel.data import cifar_classes
from cifsel.errors import UserError

PLANTS_AND_THINGS = [
    "flowers",
    "food_containers",
    "fruit_and_vegetables",
    "household_electrical_devices",
    "household_furniture",
    "large_man-made_outdoor_things",
    "large_natural_outdoor_scenes",
    "trees",
    "vehicles_1",
    "vehicles_2",
]
COARSE = sorted([*cifar_classes.ANIMALS_AND_PEOPLE, *PLANTS_AND_THINGS])

# The 50 numbers in CIFAR-100's alphabetical order, found independently of the module's names: the
# 51 of the notebook less pear (57), plus tiger (88).
IDS = [1, 2, 3, 4, 6, 7, 11, 14, 15, 18, 19, 21, 24, 26, 27, 29, 30, 31, 32, 34, 35, 36, 38, 42, 43]
IDS += [44, 45, 46, 50, 55, 63, 64, 65, 66, 67, 72, 73, 74, 75, 77, 78, 79, 80, 88, 91, 93, 95, 97]
IDS += [98, 99]


def pairs():
    """A made-up CIFAR-100: the ten groups at their true numbers, the rest filled up."""
    names = [f"thing_{number:02}" for number in range(100)]
    coarse = np.empty(100, int)
    rest = [number for number in range(100) if number not in IDS]
    for index, number in enumerate(rest):
        coarse[number] = COARSE.index(PLANTS_AND_THINGS[index // 5])
    animals = sorted(
        (name, group) for group, members in cifar_classes._FINE_OF.items() for name in members
    )
    for number, (name, group) in zip(IDS, animals, strict=True):
        names[number] = name
        coarse[number] = COARSE.index(group)
    return names, coarse


def derive(names, coarse, coarse_names=COARSE):
    fine = np.random.default_rng(0).permutation(np.repeat(np.arange(100), 3))
    return cifar_classes.animals_and_people(names, coarse_names, fine, coarse[fine])


def test_ten_groups_of_five():
    assert len(cifar_classes.ANIMALS_AND_PEOPLE) == 10
    assert list(cifar_classes.ANIMALS_AND_PEOPLE) == sorted(cifar_classes.ANIMALS_AND_PEOPLE)
    assert len({name for names in cifar_classes._FINE_OF.values() for name in names}) == 50


def test_derives_the_fifty():
    names, coarse = pairs()
    chosen = derive(names, coarse)
    assert chosen.fine_ids.tolist() == IDS
    assert chosen.fine_ids.dtype == chosen.coarse_of.dtype == np.int32
    assert list(chosen.class_names) == sorted(chosen.class_names)
    assert "tiger" in chosen.class_names
    assert "pear" not in chosen.class_names
    assert np.bincount(chosen.coarse_of).tolist() == [5] * 10
    tiger = chosen.class_names.index("tiger")
    assert chosen.coarse_names[chosen.coarse_of[tiger]] == "large_carnivores"


def test_select_keeps_positions_and_renumbers():
    chosen = derive(*pairs())
    positions, labels = chosen.select(np.array([0, 88, 57, 1, 99, 1]))
    assert positions.tolist() == [1, 3, 4, 5]
    assert [chosen.class_names[label] for label in labels] == [
        "tiger",
        "aquarium_fish",
        "worm",
        "aquarium_fish",
    ]
    assert positions.dtype == labels.dtype == np.int32


def test_missing_group_is_refused():
    renamed = [{"people": "animals", "fish": "fishes"}.get(name, name) for name in COARSE]
    with pytest.raises(UserError, match="lack fish, people: not"):
        derive(*pairs(), coarse_names=renamed)


def test_a_class_in_the_wrong_group_is_refused():
    names, coarse = pairs()
    coarse[[names.index("tiger"), 57]] = coarse[[57, names.index("tiger")]]
    with pytest.raises(UserError, match=r"large_carnivores are .*thing_57.*expected .*tiger"):
        derive(names, coarse)


def test_two_coarse_labels_for_one_class_are_refused():
    names, coarse = pairs()
    fine = np.append(np.arange(100), 88)
    labels = np.append(coarse, COARSE.index("people"))
    with pytest.raises(UserError, match="tiger comes with two coarse labels"):
        cifar_classes.animals_and_people(names, COARSE, fine, labels)


def test_a_missing_class_is_refused():
    names, coarse = pairs()
    fine = np.delete(np.arange(100), 88)
    message = "are bear, leopard, lion, wolf in .* expected bear, leopard, lion, tiger, wolf: not"
    with pytest.raises(UserError, match=message):
        cifar_classes.animals_and_people(names, COARSE, fine, coarse[fine])


def test_a_group_without_images_is_refused():
    names, coarse = pairs()
    fine = np.flatnonzero(coarse != COARSE.index("people"))
    with pytest.raises(UserError, match="classes of people are none in this data set"):
        cifar_classes.animals_and_people(names, COARSE, fine, coarse[fine])
