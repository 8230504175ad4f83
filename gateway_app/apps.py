from django.apps import AppConfig


class GatewayConfig(AppConfig):
    name = "gateway_app"
    verbose_name = "Gateway"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from gateway_app.config import live

        live.warn()
