"""A product opened for work: its settings, its bucket, its keys and its local cache."""

from dataclasses import dataclass
from typing import Literal

from reconad_plugin.config import ProductSettings, Settings, load_settings
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.ledger.night_record import NightRecords
from reconad_plugin.store.cache import ContentCache
from reconad_plugin.store.layout import ProductLayout
from reconad_plugin.store.objects import ObjectStore


@dataclass(frozen=True)
class Product:
    """Everything a step needs to know of a product."""

    name: str
    settings: ProductSettings
    workspace: str
    report: Literal["full", "lean"]
    store: ObjectStore
    cache: ContentCache
    layout: ProductLayout
    records: NightRecords

    @property
    def limits(self) -> ImageLimits:
        """Allowed image sizes."""
        return self.settings.limits


def open_product(name: str, settings: Settings | None = None) -> Product:
    """Open a product that stands in the settings file.

    Raises:
        ConfigError: it does not, or the file breaks a rule.
    """
    settings = settings or load_settings()
    product_settings = settings.product(name)
    store, layout = ObjectStore(settings.storage), ProductLayout(name)
    return Product(
        name=name,
        settings=product_settings,
        workspace=settings.monitoring.workspace,
        report=settings.monitoring.report,
        store=store,
        cache=ContentCache(settings.storage.cache_dir),
        layout=layout,
        records=NightRecords(store, layout),
    )
