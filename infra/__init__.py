"""Forebay as infrastructure: settings → stacks → checks.

| module | what it says |
|---|---|
| `settings` | what a deployer may choose, from CDK context and `FOREBAY_*` variables |
| `steps` | every function at one glance: trigger, memory, timeout, batch, concurrency, layers |
| `runbooks` | the pages that alarms name |
| `deployment` | which stacks, on what each stands |
| `stacks/` | composition: storage, catalog, operations, ingest, policy, upkeep (and archive) |
| `constructs/` | house defaults, one construct per file |
| `bundling` | builds Lambda layers without Docker, byte for byte reproducible |
| `policy` | compiles `policies/*.yaml` to what the `policy` layer carries |
| `outputs` | the names of the stack outputs that the command line reads |
| `checks` | cdk-nag, and how a finding is acknowledged |
| `lint` | `python -m infra.lint`: synthesize, then cfn-lint |

Deploying, cloud: credentials and a bootstrapped account are all it needs (with a replica region,
both regions bootstrapped)::

    npx cdk deploy --all

Deploying, local: the same app on MiniStack at `$PORT`, as `forebay up` does it. Bootstrapping takes
5 s, the first deployment 30 s on two idle cores, most of it synthesis and zipping of layers::

    export AWS_ENDPOINT_URL=https://127.0.0.1:$PORT    # an IP address: S3 stays path-style
    export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1
    export NODE_EXTRA_CA_CERTS=<MiniStack's certificate>
    export FOREBAY_PROFILE=local FOREBAY_PYTHON=<the interpreter MiniStack runs under>
    npx cdk bootstrap aws://000000000000/us-east-1
    npx cdk deploy --all --require-approval never --method direct --concurrency 4

What MiniStack (1.5) does otherwise, with what follows from it:

- It has no second region to replicate to: the `archive` stack is left out. All others are deployed.
- It takes and ignores a bucket's encryption, lifecycle, Object Lock and access log, a table's
  recovery and encryption, and reserved concurrency, when CloudFormation sets them. `tests/infra`
  asserts them on the templates; grants on the keys are never exercised locally.
- It starts a scheduled function once and does not look at whether it failed: retries and failure
  queues of schedules are only asserted on the templates. `rate()` and `cron()` do fire.
- It makes no event archives and writes no inventories: both are left out.
- It asks for `sqs:SendMessageBatch` where AWS asks for `sqs:SendMessage`, and refuses a grant of
  `kms:Sign` that has conditions on the algorithm: `upkeep` says so where it grants them.
- A function's concurrent invocations are processes: locally two at most (`infra.steps`).
- A stream's partial failures, retry count and bisecting are not looked at: only an exception makes
  a batch come again, until its age is out.
- It unpacks layers side by side, not under `/opt`: code finds its files as package data.
"""
