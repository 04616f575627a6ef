"""What the benchmark needs, fetched from its registries or built into target/bench. Owner: benches."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "bench"
KAFKA, TOOLS = "4.4.0", "4.3.1"  # kafka-tools 4.4.0 is not on Maven Central
DOHLE = ROOT / "target" / "release" / "dohle"
# Longer than any step takes on a slow machine: what is stuck fails its row.
LIMIT_S = 600


class Failed(Exception):
    """Something that was run did not do what it should; the message shows what it said."""


def run(*command, **options):
    """A command's standard output."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, **options)
    except subprocess.TimeoutExpired as stuck:
        raise Failed(f"{words[0]} took more than {LIMIT_S} s") from stuck
    if done.returncode:
        raise Failed(f"{' '.join(words[:2])} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def maven(folder, artifact, version):
    """An artifact's jars with all they need, in a folder of target/bench."""
    if (WORK / folder).is_dir():
        return
    pom = WORK / f"{folder}.pom.xml"
    pom.write_text(f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>bench</groupId><artifactId>{folder}</artifactId><version>1</version><dependencies><dependency>
<groupId>org.apache.kafka</groupId><artifactId>{artifact}</artifactId><version>{version}</version>
</dependency></dependencies></project>""")
    new = WORK / f"{folder}.new"
    run("mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={new}")
    new.rename(WORK / folder)


def prepare(with_dohle, with_kafka):
    """Everything that a run needs. Load comes from clients that are not ours."""
    WORK.mkdir(parents=True, exist_ok=True)
    clients = ROOT / "benches" / "clients"
    if with_dohle:
        run("cargo", "build", "--release", "--quiet", "--locked", "--bin", "dohle", cwd=ROOT)
    if with_kafka:
        maven("kafka", "kafka_2.13", KAFKA)
    maven("tools", "kafka-tools", TOOLS)
    run("go", "build", "-o", WORK / "franz-go", ".", cwd=clients / "franz-go")
    run("cargo", "build", "--release", "--quiet", "--locked", "--target-dir", WORK / "librdkafka",
        cwd=clients / "librdkafka")
    run("cc", "-O2", "-Wall", "-o", WORK / "floor", ROOT / "benches" / "floor.c")
