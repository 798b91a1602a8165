//! Where the shop under test keeps its truth: a SQLite file, or a database of its own on a PostgreSQL server, with Redis.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use uuid::Uuid;

use super::line::Line;

/// Which stores the run is about: `sqlite` (the default) or `postgres`.
const STORE: &str = "SCANBACK_TEST_STORE";
/// A database of a PostgreSQL server on which databases may be made and dropped.
const POSTGRES_URL: &str = "SCANBACK_TEST_POSTGRES_URL";
/// A Redis server for keys of tests alone, with as many databases as `REDIS_DATABASES` says.
const REDIS_URL: &str = "SCANBACK_TEST_REDIS_URL";
/// Each shop has a database of its own: all of them are the merchant `demo`, and a merchant's quotas are shared.
const REDIS_DATABASES: usize = 256;
static NEXT_REDIS_DATABASE: AtomicUsize = AtomicUsize::new(0);

fn named(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; tests/run sets it"))
}

/// Whether this run is the one on PostgreSQL and Redis.
pub(crate) fn on_postgres() -> bool {
    match std::env::var(STORE).as_deref() {
        Ok("postgres") => true,
        Ok("sqlite") | Err(_) => false,
        Ok(other) => panic!("{STORE} is sqlite or postgres, not {other:?}"),
    }
}

/// Whether `tests/run` runs this: then everything that is needed must be there.
pub(crate) fn is_whole_run() -> bool {
    std::env::var_os(STORE).is_some()
}

/// The store of one shop. What it made is gone once it is dropped, or told to.
pub(crate) enum Store {
    Sqlite { file: PathBuf },
    Postgres { server: String, name: String, line: Line },
}

/// A store that can't be written, until it is mended.
pub(crate) enum Broken<'a> {
    /// Another process has the file, and doesn't let go.
    Locked(Box<SqliteConnection>),
    /// The server can't be reached.
    Cut(&'a Line),
}

impl Broken<'_> {
    /// As if nothing had been.
    pub(crate) async fn mend(self) {
        match self {
            Self::Locked(connection) => connection.close().await.unwrap(),
            Self::Cut(line) => line.mend(),
        }
    }
}

impl Store {
    /// A store of this run's kind, empty.
    pub(crate) async fn make(dir: &Path) -> Self {
        if !on_postgres() {
            return Self::Sqlite { file: dir.join("scanback.sqlite") };
        }
        let (server, name) = (named(POSTGRES_URL), format!("scanback_test_{}", Uuid::now_v7().simple()));
        let mut connection = PgConnection::connect(&server).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
        let (_, address) = server.split_once('@').unwrap();
        let line = Line::to(address.split_once('/').unwrap().0);
        Self::Postgres { server, name, line }
    }

    /// What `database.url` is set to.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite { file } => format!("sqlite:{}", file.display()),
            Self::Postgres { server, name, line } => {
                let (user, _) = server.split_once('@').unwrap();
                format!("{user}@{}/{name}", line.address)
            }
        }
    }

    /// Breaks it.
    pub(crate) async fn break_down(&self) -> Broken<'_> {
        match self {
            Self::Sqlite { .. } => {
                let mut connection = SqliteConnection::connect(&self.url()).await.unwrap();
                sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut connection).await.unwrap();
                Broken::Locked(Box::new(connection))
            }
            Self::Postgres { line, .. } => {
                line.cut();
                Broken::Cut(line)
            }
        }
    }

    /// What `redis.url` is set to, if this run has Redis: another database of the server each time.
    pub(crate) fn next_redis_url() -> Option<String> {
        let database = || NEXT_REDIS_DATABASE.fetch_add(1, Ordering::Relaxed) % REDIS_DATABASES;
        on_postgres().then(|| format!("{}/{}", named(REDIS_URL), database()))
    }

    /// Changes the truth behind the desk's back: for states that only people with access to the database can make.
    pub(crate) async fn execute(&self, sql: &'static str) {
        let changed = match self {
            Self::Sqlite { .. } => {
                let mut connection = SqliteConnection::connect(&self.url()).await.unwrap();
                sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected()
            }
            Self::Postgres { .. } => {
                let mut connection = PgConnection::connect(&self.url()).await.unwrap();
                sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected()
            }
        };
        assert!(changed > 0, "{sql} changed nothing");
    }

    /// The bytes of everything that is stored, where they can be read as files: what must not be stored isn't there.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Sqlite { file } => ["", "-wal"]
                .iter()
                .flat_map(|end| std::fs::read(format!("{}{end}", file.display())).unwrap_or_default())
                .collect(),
            Self::Postgres { .. } => Vec::new(),
        }
    }

    /// Removes what was made.
    pub(crate) async fn remove(&self) {
        if let Self::Postgres { server, name, .. } = self {
            let mut connection = PgConnection::connect(server).await.unwrap();
            let drop = format!("DROP DATABASE {name} WITH (FORCE)");
            sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await.unwrap();
        }
    }
}
