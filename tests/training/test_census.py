import json

from training.data.census import Census, Fault


def test_an_empty_census_says_so() -> None:
    census = Census("street").end()
    assert census.lines()[0] == "street: 0 pictures, 0 instances"
    assert census.lines()[-2:] == [
        "error: street: expected at least one picture, found none",
        "1 findings that would hurt training",
    ]


def test_the_table() -> None:
    census = Census("street", pictures=3)
    for name, area, ignored in (("car", 1023, False), ("car", 1024, False), ("bus", 9216, False), ("person", 5, True)):
        census.count(name, area, ignored)
    census.find(Fault.DUPLICATE_ID, "here", "twice")
    census.find(Fault.OTHER_CLASS, "there", "zebras", hurts=False)
    lines = census.end().lines()
    assert lines[:6] == [
        "street: 3 pictures, 3 instances",
        "                  small   medium    large      all  ignored",
        "bus                   0        0        1        1        0",
        "car                   1        1        0        2        0",
        "person                0        0        0        0        1",
        "all                   1        1        1        3        1",
    ]
    counts = dict(line.rsplit(maxsplit=1) for line in lines[6 : 6 + len(Fault)])
    assert counts["duplicate ids"] == counts["classes that are left out"] == "1"
    assert sum(int(count) for count in counts.values()) == 2
    assert lines[-3:] == ["error: here: twice", "note: there: zebras", "1 findings that would hurt training"]


def test_plain_data() -> None:
    census = Census("street", pictures=1)
    census.count("car", 5, False)
    census.find(Fault.OUTSIDE, "here", "far")
    plain = json.loads(json.dumps(census.end().as_dict()))
    assert plain["instances"] == {"car": {"small": 1, "medium": 0, "large": 0}}
    assert (plain["faults"]["outside"], plain["faults"]["empty"], plain["errors"]) == (1, 0, 1)
    assert plain["findings"] == [{"fault": "outside", "place": "here", "what": "far", "hurts": True}]
