import os

from mlflow_models.password import hide_password

hide_password(os.environ)
