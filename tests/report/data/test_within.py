"""What keeping a budget took, in words, held against the rows."""

from typing import Any

import pandas as pd

from dynact.report.data.kept_sites import kept_sites_notes
from dynact.report.data.prediction import predict
from dynact.report.data.within import budget_sentences, with_given_up
from tests.report.networks_sample import build_networks
from tests.report.sample_run import run_of

STAY, GIVEN_UP = range(3, 18), [2, 1]


def advised(overhead: float, **changes: Any) -> tuple[pd.DataFrame, pd.DataFrame, list[Any]]:
    """Return a network that takes 1.8 times as long, and without its first two sites less."""
    networks, sites = build_networks(("resnet18",), ("frelu",), ("training",))
    networks.loc[0, ["overhead", "overhead_lo", "overhead_hi"]] = [1.8, 1.78, 1.82]
    whole = networks.iloc[0].to_dict()
    every = [{"number": i, **site} for i, site in enumerate(whole["sites"], 1)]
    networks["sites"] = [every]
    gone = [site | {"reason": "not selected"} for site in every if site["number"] in GIVEN_UP]
    # What another option left out.
    gone.append({"number": 18, "name": "head", "original": "silu", "reason": "not selected"})
    fewer = whole | {
        "case_id": "fewer", "placement": "sites:3-17", "kept_sites": gone,
        "sites": [site for site in every if site["number"] in STAY],
        "overhead": overhead, "overhead_lo": overhead - 0.02, "overhead_hi": overhead + 0.02,
    }  # fmt: skip
    record = {
        "case_id": whole["case_id"], "budget": 1.3, "placement": "sites:3-17",
        "given_up": GIVEN_UP, "foretold": 1.25,
    }  # fmt: skip
    rows = pd.concat([networks, pd.DataFrame([fewer | changes])], ignore_index=True)
    return rows, sites, [record]


def said_of(networks: pd.DataFrame, sites: pd.DataFrame, within: list[Any]) -> list[str]:
    found = budget_sentences(run_of(networks=networks, sites=sites, within=within))
    return found.get("ResNet-18", [])


def test_it_says_what_stays_what_that_takes_and_what_was_given_up() -> None:
    networks, sites, within = advised(1.25)

    (sentence,) = said_of(networks, sites, within)

    extra = predict(networks, sites).parts.set_index("site")["extra_ns"].iloc[:17] / 1e3
    first, second = sorted(GIVEN_UP, key=lambda site: -extra[site])
    names = {site: f"{site} features.{site - 1}" for site in GIVEN_UP}
    assert sentence == (
        "FReLU takes 1.80× (1.78–1.82) in training, at all of its 17 sites; for 1.3× it keeps 15 "
        "of them (3–17) and takes 1.25× (1.23–1.27). Given up, the most expensive first: "
        f"{names[first]} (+{extra[first]:.3g} µs), {names[second]} (+{extra[second]:.3g} µs)."
    )


def test_it_claims_no_more_of_the_budget_than_the_interval() -> None:
    assert "1.40× (1.38–1.42) and is above it." in said_of(*advised(1.4))[0]
    assert "(1.28–1.32), which does not tell whether it keeps it." in said_of(*advised(1.3))[0]
    assert "of which there is no time" in said_of(*advised(1.3, status="oom"))[0]

    networks, sites, within = advised(1.25)
    (sentence,) = said_of(networks, sites, [within[0] | {"placement": ""}])
    assert sentence.endswith("sites, and cannot keep 1.3× with even one.")


def test_a_network_that_fits_is_said_to_where_another_was_asked_for_the_budget() -> None:
    networks, sites, within = advised(1.25)
    others, layers = build_networks(("resnet18",), ("prelu",), ("training",))
    sites = pd.concat([sites, layers])

    for high, fits in ((1.22, "within 1.3×."), (1.35, "not seen to be above 1.3×.")):
        others.loc[0, ["overhead", "overhead_lo", "overhead_hi"]] = [1.2, 1.18, high]
        both = pd.concat([networks, others], ignore_index=True)
        _, sentence = sorted(said_of(both, sites, within))
        assert sentence.startswith("PReLU takes 1.2")
        assert sentence.endswith(fits)
    assert said_of(networks, sites, []) == []


def test_sites_that_were_given_up_say_for_what() -> None:
    networks, _, within = advised(1.25)
    rows = with_given_up(networks, within).assign(variant=["FReLU", "FReLU (15 sites)"])

    assert kept_sites_notes(rows.iloc[1:]) == [
        "FReLU (15 sites): 2 of 18 sites keep ReLU: given up for the budget of 1.3× (features.0, "
        "features.1); 1 of 18 sites keeps SiLU: not selected (head)."
    ]
    # Elsewhere the same sites were left out by the user's own choice.
    alone = with_given_up(networks, []).assign(variant="FReLU (15 sites)")
    assert "given up" not in str(kept_sites_notes(alone.iloc[1:]))
