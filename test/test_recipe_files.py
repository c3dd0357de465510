"""The files of all recipes are where ESPnet has them, and shared ones are the same."""

from pathlib import Path

import pytest

EGS = Path(__file__).resolve().parents[1] / "egs2"
RECIPES = sorted(EGS.glob("*/sv1"))
# what ci/test_configuration_espnet2.sh of ESPnet compares, and our own gpu.conf
SHARED = ("cmd.sh", *(f"conf/{name}.conf" for name in ("slurm", "queue", "pbs", "gpu")))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.parent.name)
def test_training_configurations_are_links_into_tuning(recipe):
    configs = sorted((recipe / "conf").glob("train_sv_*.yaml"))
    assert len(configs) > 3
    for config in configs:
        target = config.readlink()
        assert target.parts[:-1] == ("tuning",), f"{config} -> {target}"
        assert config.is_file()
        assert target.stem.startswith(config.stem)  # named by how it differs
    linked = {config.resolve().name for config in configs}
    assert linked >= {p.name for p in (recipe / "conf/tuning").glob("*.yaml")}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.parent.name)
def test_settings_of_the_cluster_are_those_of_the_template(recipe):
    for name in SHARED:
        assert (recipe / name).read_text() == (EGS / "TEMPLATE/sv1" / name).read_text()


def test_no_link_of_a_recipe_leads_nowhere():
    made = {"data", "dump", "exp", "downloads", "logs"}
    for recipe in RECIPES:
        for path in recipe.rglob("*"):
            if made.isdisjoint(path.relative_to(recipe).parts):
                assert path.exists(), f"{path} -> {path.readlink()}"
