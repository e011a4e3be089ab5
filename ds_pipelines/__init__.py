"""ds_pipelines: a data-science team's infrastructure, from an anonymized extract to scores delivered every day."""
