"""What is wrong with a request, in one sentence."""

from hypothesis import given
from hypothesis import strategies as st

from mlflow_models.serving.request import explain


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_body_has_an_explanation(body):
    """No bytes make the explanation itself fail, and it repeats none of them."""
    said = explain(body)
    assert said is None or "\n" not in said
