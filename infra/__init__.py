"""Forebay as infrastructure: settings → stacks → checks.

| module | what it says |
|---|---|
| `settings` | what a deployer may choose, from CDK context and `FOREBAY_*` variables |
| `steps` | every function at one glance: trigger, memory, timeout, batch, concurrency, layers |
| `deployment` | which stacks, on what each stands |
| `deployment` | which stacks, on what each stands |
| `stacks/` | composition: storage, catalog, operations, ingest (and archive, in a second region) |
| `constructs/` | house defaults, one construct per file |
| `bundling` | builds Lambda layers without Docker, byte for byte reproducible |
| `policy` | compiles `policies/*.yaml` to what the `policy` layer carries |
| `outputs` | the names of the stack outputs that the command line reads |
| `checks` | cdk-nag, and how a finding is acknowledged |
| `lint` | `python -m infra.lint`: synthesize, then cfn-lint |

Deploying, cloud (credentials and a bootstrapped account are all it needs)::

    npx cdk deploy --all

Deploying, local (MiniStack on `$PORT`; the same app, `forebay up` does this)::

    export FOREBAY_PROFILE=local FOREBAY_PYTHON=<the interpreter MiniStack runs under>
    export AWS_ENDPOINT_URL=https://127.0.0.1:$PORT   # an IP address: S3 stays path-style
    export NODE_EXTRA_CA_CERTS=<MiniStack's certificate>
    npx cdk bootstrap aws://000000000000/us-east-1 && npx cdk deploy --all --method direct
"""
