"""The helper process: small, single-threaded, trusted; it forks one supervisor for each job.

It exists because the work around a job (a private mount namespace, another user, rlimits, waiting for orphans) can't be
done from threads of a large process without races and slow forks. It is started as ``python -I -S`` and imports only
what it needs. When the process that started it dies, by whatever means, every supervisor notices the closed socket,
kills its job and removes what belongs to it.
"""
