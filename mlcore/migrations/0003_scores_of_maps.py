import django.db.models.deletion
import mlcore.models.human_maps
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('mlcore', '0002_neighbours_and_matches'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='HumanMap',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('rater', models.PositiveIntegerField(help_text='Number of the person within the set.')),
                ('map', models.FileField(max_length=300, upload_to=mlcore.models.human_maps.human_map_path)),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='HumanMapSet',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('name', models.CharField(max_length=160)),
                ('source', models.UUIDField(blank=True, help_text='UUID of the study that the maps come from.', null=True)),
                ('participants', models.JSONField(default=dict, help_text='Number of people by kind: human, simulated, imported.')),
                ('stale', models.BooleanField(default=False, help_text='A person whose maps are in it was deleted since.')),
                ('created', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['-created'],
                'abstract': False,
            },
        ),
        migrations.RemoveConstraint(
            model_name='score',
            name='score_once_a_run',
        ),
        migrations.AddField(
            model_name='run',
            name='explanation_sets',
            field=models.ManyToManyField(blank=True, help_text='What an explain run fills, one set a method; what a score run judges.', related_name='runs', to='mlcore.explanationset'),
        ),
        migrations.AddField(
            model_name='score',
            name='explanation_set',
            field=models.ForeignKey(blank=True, help_text='The maps that were judged by a score run.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='scores', to='mlcore.explanationset'),
        ),
        migrations.AddField(
            model_name='score',
            name='high',
            field=models.FloatField(help_text='Upper end.', null=True),
        ),
        migrations.AddField(
            model_name='score',
            name='low',
            field=models.FloatField(help_text='Lower end of the 95 % interval over images.', null=True),
        ),
        migrations.AlterField(
            model_name='run',
            name='kind',
            field=models.CharField(choices=[('train', 'train'), ('explain', 'explain'), ('evaluate', 'evaluate'), ('score', 'score')], max_length=20),
        ),
        migrations.AlterField(
            model_name='score',
            name='part',
            field=models.CharField(choices=[('train', 'train'), ('annotation_pool', 'annotation pool'), ('validation', 'validation'), ('test', 'test'), ('all', 'all images')], max_length=20),
        ),
        migrations.AddIndex(
            model_name='score',
            index=models.Index(fields=['explanation_set', 'metric'], name='scores_of_a_set'),
        ),
        migrations.AddConstraint(
            model_name='score',
            constraint=models.UniqueConstraint(condition=models.Q(('explanation_set__isnull', True)), fields=('run', 'part', 'metric'), name='score_once_a_run'),
        ),
        migrations.AddConstraint(
            model_name='score',
            constraint=models.UniqueConstraint(condition=models.Q(('explanation_set__isnull', False)), fields=('run', 'explanation_set', 'part', 'metric'), name='score_once_a_set_and_run'),
        ),
        migrations.AddField(
            model_name='humanmap',
            name='image',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='human_maps', to='mlcore.image'),
        ),
        migrations.AddField(
            model_name='humanmapset',
            name='image_set',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='human_map_sets', to='mlcore.imageset'),
        ),
        migrations.AddField(
            model_name='humanmapset',
            name='owner',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='humanmap',
            name='set',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='maps', to='mlcore.humanmapset'),
        ),
        migrations.AddField(
            model_name='run',
            name='human_maps',
            field=models.ForeignKey(blank=True, help_text="People's maps that a score run compares with.", null=True, on_delete=django.db.models.deletion.PROTECT, related_name='runs', to='mlcore.humanmapset'),
        ),
        migrations.AddConstraint(
            model_name='humanmap',
            constraint=models.UniqueConstraint(fields=('set', 'image', 'rater'), name='one_map_a_person_and_image'),
        ),
    ]
