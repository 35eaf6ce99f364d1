import os

from mlflow_models.server import hide_password

hide_password(os.environ)
