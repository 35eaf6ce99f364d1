"""``reconad status``: of one product, or how all stand."""

from flows.commands.all_products import show_all
from flows.commands.json_file import check_writable
from flows.commands.options import StatusOptions


def run(options: StatusOptions) -> None:
    """Show which version serves, and what became of the others; or how all products stand."""
    check_writable(options.json)
    if options.product is None:
        show_all(options.json)
        return
    from flows.commands.product_status import show_product  # asks MLflow, which takes seconds

    show_product(options.product, options.json)
