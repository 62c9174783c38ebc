"""Surgery, training, files and exports of models as users have them."""

import pytest

from tests.harness import cross_section
from tests.user_models.matrix import SURGERIES, TABLE, cell
from tests.user_models.models import user_models

FAST = [("nested three deep", "compact")]
CASES = [(name, surgery) for name in user_models() for surgery in SURGERIES]


def test_every_model_has_a_row():
    found = TABLE.committed()
    assert list(found) == CASES
    assert all(value == "yes" or value.startswith("no: ") for value in found.values())


# Some converters of libraries use deprecated functions.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "surgery"), cross_section(CASES, FAST))
def test_table_is_correct(name, surgery, tmp_path):
    assert cell(user_models()[name], surgery, tmp_path) == TABLE.committed()[name, surgery]
