"""Says whether the database and the broker of the second test pass answer; exit 1 with the command that helps."""

import sys
from urllib.parse import urlsplit

import psycopg2
import redis


def main(database_url: str, broker_url: str) -> int:
    missing = []
    parts = urlsplit(database_url)
    try:
        psycopg2.connect(
            host=parts.hostname,
            port=parts.port or 5432,
            user=parts.username,
            password=parts.password,
            dbname="postgres",
            connect_timeout=3,
        ).close()
    except psycopg2.OperationalError as error:
        missing.append(
            f"PostgreSQL does not answer ({str(error).strip().splitlines()[0]}).\n"
            "  Enable it: apt-get install postgresql, then make test "
            "TEST_DATABASE_URL=postgres://USER:PASSWORD@127.0.0.1:5432/harmony"
        )
    try:
        redis.Redis.from_url(broker_url, socket_connect_timeout=3).ping()
    except redis.RedisError as error:
        missing.append(
            f"Redis does not answer ({error}).\n"
            "  Enable it: apt-get install redis-server && redis-server --daemonize yes, then make test"
        )
    for sentence in missing:
        print(f"\n*** SKIPPED: the tests on PostgreSQL + Redis. {sentence}\n", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
