"""What the benchmark needs, fetched from its registries or built into target/bench. Owner: benches."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "bench"
CLIENTS = ROOT / "benches" / "clients"
KAFKA, TOOLS = "4.4.0", "4.3.1"  # kafka-tools 4.4.0 is not on Maven Central
ZOOKEEPER = "3.9.5"
DOHLE = ROOT / "target" / "release" / "dohle"
# Longer than any step of a row takes on a slow machine: what is stuck fails its row.
LIMIT_S = 600
# Longer than a build from nothing.
BUILD_LIMIT_S = 3600


class Failed(Exception):
    """Something that was run did not do what it should; the message shows what it said."""


def run(*command, limit_s=LIMIT_S, **options):
    """A command's standard output."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=limit_s, **options)
    except subprocess.TimeoutExpired as stuck:
        raise Failed(f"{words[0]} took more than {limit_s} s") from stuck
    if done.returncode:
        raise Failed(f"{' '.join(words[:2])} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def maven(folder, *artifacts):
    """Jars (group:artifact:version) with all they need, in a folder of target/bench."""
    if (WORK / folder).is_dir():
        return
    wanted = "".join("<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"
                     .format(*artifact.split(":")) for artifact in artifacts)
    pom = WORK / f"{folder}.pom.xml"
    pom.write_text(f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>bench</groupId><artifactId>{folder}</artifactId><version>1</version><dependencies>
{wanted}</dependencies></project>""")
    new = WORK / f"{folder}.new"
    run("mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={new}",
        limit_s=BUILD_LIMIT_S)
    new.rename(WORK / folder)


def build_dohle():
    run("cargo", "build", "--release", "--quiet", "--locked", "--bin", "dohle", cwd=ROOT, limit_s=BUILD_LIMIT_S)


def prepare_brokers(with_kafka):
    """What the rows of one broker need. Load comes from clients that are not ours."""
    WORK.mkdir(parents=True, exist_ok=True)
    if with_kafka:
        maven("kafka", f"org.apache.kafka:kafka_2.13:{KAFKA}")
    maven("tools", f"org.apache.kafka:kafka-tools:{TOOLS}")
    run("go", "build", "-o", WORK / "franz-go", ".", cwd=CLIENTS / "franz-go")
    run("cargo", "build", "--release", "--quiet", "--locked", "--target-dir", WORK / "librdkafka",
        cwd=CLIENTS / "librdkafka", limit_s=BUILD_LIMIT_S)
    compile_floor("floor")
    return ([f"Apache Kafka {KAFKA}"] if with_kafka else []) + [f"Kafka tools {TOOLS}"]


def compile_floor(name):
    run("cc", "-O2", "-Wall", "-o", WORK / name, ROOT / "benches" / f"{name}.c")


def prepare_ensembles(with_zookeeper):
    """ZooKeeper, and one load client for both ensembles on their own clients' jars."""
    WORK.mkdir(parents=True, exist_ok=True)
    # What ZooKeeper's distribution has beside its own jar: it measures itself, and says what goes wrong.
    maven("zookeeper", f"org.apache.zookeeper:zookeeper:{ZOOKEEPER}", f"org.apache.kafka:kafka-clients:{KAFKA}",
          "io.dropwizard.metrics:metrics-core:4.1.12.1", "org.slf4j:slf4j-simple:2.0.13")
    run("javac", "-cp", f"{WORK}/zookeeper/*", "-d", WORK / "ensemble", *(CLIENTS / "ensemble").glob("*.java"))
    compile_floor("floor")
    compile_floor("floor_quorum")
    return ([f"Apache ZooKeeper {ZOOKEEPER}"] if with_zookeeper else []) + [f"kafka-clients {KAFKA}"]
