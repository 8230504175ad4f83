from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('gateway_app', '0013_context'),
    ]

    operations = [
        migrations.AddField(
            model_name='session',
            name='overrides',
            field=models.JSONField(blank=True, help_text='What its people chose to be different in it: gateway_app.sessions.overrides.Overrides.', null=True),
        ),
    ]
