import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('gateway_app', '0014_questions'),
    ]

    operations = [
        migrations.AddField(
            model_name='session',
            name='overrides',
            field=models.JSONField(blank=True, help_text='What its people chose to be different in it: gateway_app.sessions.overrides.Overrides.', null=True),
        ),
        migrations.AlterField(
            model_name='auditentry',
            name='action',
            field=models.CharField(choices=[('pairing_requested', 'pairing requested'), ('pairing_approved', 'pairing approved'), ('pairing_denied', 'pairing denied'), ('pairing_cleared', 'pairing cleared'), ('pairing_expired', 'pairing expired'), ('pairing_locked', 'pairing locked'), ('rule_added', 'rule added'), ('rule_changed', 'rule changed'), ('rule_removed', 'rule removed'), ('rule_expired', 'rule expired'), ('role_changed', 'role changed'), ('tool_approved', 'tool call approved'), ('tool_denied', 'tool call denied'), ('tool_expired', 'tool call not approved in time'), ('permission_removed', 'tool permission removed'), ('configuration_changed', 'configuration changed'), ('home_changed', 'home channel changed')], max_length=32),
        ),
        migrations.CreateModel(
            name='HomeChannel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('platform', models.CharField(max_length=32)),
                ('account', models.CharField(blank=True, max_length=128)),
                ('chat_id', models.CharField(max_length=255)),
                ('thread_id', models.CharField(blank=True, max_length=255)),
                ('name', models.CharField(blank=True, max_length=255)),
                ('chosen_by', models.CharField(blank=True, help_text='The user id of who chose it.', max_length=255)),
                ('chosen_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('platform',), name='home_channel_once_per_platform')],
            },
        ),
    ]
