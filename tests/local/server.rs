//! `cargo run`: starting, stopping, and messages that say what to do when it cannot start.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use local::postgres::Durability;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

use support::api::Answer;
use support::local_run::{LocalRun, run, run_in};
use support::model_server::{ModelServer, Reply};
use support::postgres;
use support::proxy::Proxy;

/// The process of the server whose data is in `folder`.
fn postmaster(folder: &Path) -> Pid {
    let text = std::fs::read_to_string(folder.join("postgres/data/postmaster.pid")).unwrap();
    Pid::from_raw(text.lines().next().unwrap().parse().unwrap()).unwrap()
}

async fn chat(address: &str, body: &Value) -> (u16, Value) {
    let request = reqwest::Client::new()
        .post(format!("{address}/chat"))
        .json(body);
    let answer = Answer::over_http(request).await.unwrap();
    (answer.status, answer.body)
}

async fn get(url: &str) -> Value {
    let request = reqwest::Client::new().get(url);
    Answer::over_http(request).await.unwrap().body
}

#[tokio::test]
async fn it_says_what_it_did_and_leaves_nothing_running() {
    for signal in [Signal::INT, Signal::TERM] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let local = LocalRun::start(folder.path(), &[]).await;
        let printed = local.printed.join("\n");
        for expected in [
            "Daissy ",
            "PostgreSQL ",
            "schema ",
            "V1__",
            "built-in",
            "http://127.0.0.1:",
        ] {
            assert!(printed.contains(expected), "{expected}: {printed}");
        }
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(
            mode(folder.path()),
            0o755,
            "an existing folder is not changed"
        );
        let home = folder.path().join("postgres");
        assert_eq!(
            mode(&home) & 0o066,
            0,
            "no other account reads or writes it"
        );
        assert_eq!(mode(&home.join("data")), 0o700, "the data is private");
        assert_eq!(mode(&home.join("password")), 0o600);
        assert!(
            !home.join("password.initdb").exists(),
            "the server's account keeps no password"
        );
        assert_eq!(mode(&folder.path().join("postgres/database-url")), 0o600);
        let postmaster = postmaster(folder.path());

        local.signal(signal);

        assert!(local.ended().await, "exit code 0");
        assert!(
            test_kill_process(postmaster).is_err(),
            "PostgreSQL has ended, too"
        );
    }
}

#[tokio::test]
async fn the_request_under_way_is_answered_before_it_stops() {
    let model = ModelServer::start([Reply::Late(Duration::from_secs(2), "done".into())]).await;
    let folder = tempfile::tempdir().unwrap();
    let local = LocalRun::start(folder.path(), &model.settings()).await;
    let address = local.address.clone();
    let turn = tokio::spawn(async move { chat(&address, &json!({ "query": "Hi" })).await });
    model.asked().await;

    local.stop().await;

    let (status, body) = turn.await.unwrap();
    assert_eq!((status, &body["response"]), (200, &json!("done")));
}

#[tokio::test]
async fn a_request_that_does_not_end_is_reported_and_abandoned() {
    let folder = tempfile::tempdir().unwrap();
    let mut local = LocalRun::start(folder.path(), &[]).await;
    let address = local.address.strip_prefix("http://").unwrap().to_owned();
    let mut half = tokio::net::TcpStream::connect(&address).await.unwrap();
    half.write_all(b"GET /chat/status HTTP/1.1\r\nx-half: ")
        .await
        .unwrap();
    // The server now knows the connection and the beginning of its request.
    tokio::time::sleep(Duration::from_millis(300)).await;

    local.signal(Signal::INT);
    let waiting = local.prints("waiting").await;
    assert!(waiting.contains("1 open connection"), "{waiting}");
    assert!(waiting.contains("Ctrl-C again"), "{waiting}");

    local.signal(Signal::INT);
    assert!(local.ended().await, "exit code 0");
}

#[tokio::test]
async fn a_head_that_does_not_arrive_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalRun::start(folder.path(), &[]).await;
    let address = local.address.strip_prefix("http://").unwrap().to_owned();
    let mut half = tokio::net::TcpStream::connect(&address).await.unwrap();
    half.write_all(b"GET /chat/status HTTP/1.1\r\nx-half: ")
        .await
        .unwrap();

    // After 30 s the client gets an answer, or the connection is just closed.
    let mut told = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(45), half.read_to_end(&mut told)).await;
    assert!(closed.is_ok(), "still open");
    local.stop().await;
}

#[tokio::test]
async fn a_caller_that_hangs_up_does_not_end_the_turn() {
    let model = ModelServer::start([Reply::Held("kept".into())]).await;
    let folder = tempfile::tempdir().unwrap();
    let local = LocalRun::start(folder.path(), &model.settings()).await;
    let (address, session_id) = (local.address.clone(), Uuid::now_v7());
    let body = json!({ "query": "Hi", "session_id": session_id });
    let turn = tokio::spawn(async move { chat(&address, &body).await });
    model.asked().await;
    turn.abort();
    model.release();

    let history = format!("{}/chat/history/{session_id}", local.address);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let body = get(&history).await;
        if body["message_count"] == 2 {
            break;
        }
        assert!(Instant::now() < deadline, "{body}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    local.stop().await;
}

#[tokio::test]
async fn when_killed_it_takes_the_server_along_and_restarts_with_all_data() {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalRun::start(folder.path(), &[]).await;
    let (_, turn) = chat(&local.address, &json!({ "query": "Remember me" })).await;
    let postmaster = postmaster(folder.path());
    local.signal(Signal::KILL);
    assert!(!local.ended().await);

    let local = LocalRun::start(folder.path(), &[]).await;

    assert!(
        test_kill_process(postmaster).is_err(),
        "the old server has ended"
    );
    let body = json!({ "query": "Do you?", "session_id": turn["session_id"] });
    let (status, body) = chat(&local.address, &body).await;
    assert_eq!((status, &body["conversation_length"]), (200, &json!(4)));
    local.stop().await;
}

#[tokio::test]
async fn a_server_that_dies_is_started_again_where_it_was_and_one_that_dies_again_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut local = LocalRun::start(folder.path(), &[]).await;
    chat(&local.address, &json!({ "query": "Hi" })).await;
    let url_file = folder.path().join("postgres/database-url");
    let url = std::fs::read_to_string(&url_file).unwrap();
    kill_process(postmaster(folder.path()), Signal::KILL).unwrap();

    local.prints("is started again").await;
    local.prints("database").await;

    let (status, body) = chat(&local.address, &json!({ "query": "Hi" })).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(std::fs::read_to_string(&url_file).unwrap(), url);
    postgres::connect(&url).await;

    kill_process(postmaster(folder.path()), Signal::KILL).unwrap();
    let complaints = local.complaints();
    assert!(!local.ended().await);
    let complained = complaints.text();
    assert!(complained.contains("ended again soon"), "{complained}");
}

#[tokio::test]
async fn a_stale_process_id_that_was_reused_does_not_keep_it_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    assert!(run(&["migrate"], folder.path(), &[]).await.success);
    let data = folder.path().join("postgres/data");
    let owner = data.metadata().unwrap();
    // A running process of the server's account: PostgreSQL ignores those of other accounts.
    let mut other = Command::new("sleep");
    if rustix::process::geteuid().is_root() {
        other.uid(owner.uid()).gid(owner.gid());
    }
    let mut other = other.arg("600").spawn().unwrap();
    let left_behind = format!("{}\n{}\n1\n1\n\n127.0.0.1\n", other.id(), data.display());
    let pid_file = data.join("postmaster.pid");
    std::fs::write(&pid_file, left_behind).unwrap();
    std::os::unix::fs::chown(&pid_file, Some(owner.uid()), Some(owner.gid())).unwrap();

    let begun = Instant::now();
    let checked = run(&["check"], folder.path(), &[]).await;

    assert!(checked.success, "{checked:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "without waiting");
    assert!(other.try_wait().unwrap().is_none(), "the other one lives");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn the_port_of_the_server_is_kept_until_another_process_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("postgres");
    let port = || std::fs::read_to_string(home.join("port")).unwrap();
    assert!(run(&["migrate"], folder.path(), &[]).await.success);
    let first = port();
    let local = LocalRun::start(folder.path(), &[]).await;
    let url = std::fs::read_to_string(home.join("database-url")).unwrap();
    assert!(url.contains(&format!(":{first}/")), "the same port");
    local.stop().await;
    assert!(!home.join("database-url").exists(), "it leads nowhere now");

    let _taken = std::net::TcpListener::bind(("127.0.0.1", first.parse().unwrap())).unwrap();
    assert!(run(&["migrate"], folder.path(), &[]).await.success);
    assert_ne!(port(), first);
}

#[tokio::test]
async fn commands_use_the_database_of_an_instance_that_is_running() {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalRun::start(folder.path(), &[]).await;
    let (_, turn) = chat(&local.address, &json!({ "query": "Hi" })).await;
    for command in ["check", "verify", "migrate"] {
        let ended = run(&[command], folder.path(), &[]).await;
        assert!(ended.success, "{command}: {ended:?}");
        let says_so = ended.printed.contains("the instance that is running");
        assert!(says_so || command == "migrate", "{ended:?}");
    }
    let body = json!({ "query": "Still here?", "session_id": turn["session_id"] });
    let (status, body) = chat(&local.address, &body).await;
    assert_eq!((status, &body["conversation_length"]), (200, &json!(4)));
    local.stop().await;
}

#[tokio::test]
async fn root_neither_runs_nor_follows_what_another_account_planted() {
    if !rustix::process::geteuid().is_root() {
        // Then no account has to be distrusted, but a folder of another account is refused all the same.
        let refused = run(&["check"], Path::new("/"), &[]).await;
        assert!(!refused.success, "{refused:?}");
        return;
    }
    // World-writable, so that a script can record which account ran it.
    let evidence = tempfile::tempdir().unwrap();
    std::fs::set_permissions(evidence.path(), Permissions::from_mode(0o777)).unwrap();
    let ran = evidence.path().join("ran");
    let script = format!("#!/bin/sh\nid -u >>{}\n", ran.display());
    let secret = evidence.path().join("secret");
    std::fs::write(&secret, "kept").unwrap();
    let plant = |home: &Path| {
        let bin = home.join("postgresql/x/bin");
        std::fs::create_dir_all(&bin).unwrap();
        for program in ["postgres", "initdb"] {
            std::fs::write(bin.join(program), &script).unwrap();
            std::fs::set_permissions(bin.join(program), Permissions::from_mode(0o755)).unwrap();
        }
    };
    let links = ["password", "lock", "server.log", "database-url", "port"];

    for owner in [65534, 0] {
        for link in links {
            let folder = tempfile::tempdir().unwrap();
            std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
            let home = folder.path().join("postgres");
            plant(&home);
            symlink(&secret, home.join(link)).unwrap();
            std::os::unix::fs::chown(&home, Some(owner), Some(owner)).unwrap();

            let ended = run(&["check"], folder.path(), &[]).await;

            if owner != 0 {
                assert!(!ended.success, "{ended:?}");
                assert!(ended.complained.contains("LOCAL_DIR"), "{ended:?}");
            }
            assert_eq!(std::fs::read_to_string(&secret).unwrap(), "kept", "{link}");
            assert_eq!(secret.metadata().unwrap().uid(), 0, "{link}");
            let ran = std::fs::read_to_string(&ran).unwrap_or_default();
            let as_root = ran.lines().any(|line| line == "0");
            assert!(!as_root, "{link} of {owner}: {ran}");
            assert!(owner == 0 || ran.is_empty(), "it was run at all");
        }
    }
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn the_account_of_the_server_sees_no_key_of_ours() {
    if !rustix::process::geteuid().is_root() {
        // Then the server runs as we do.
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let settings = [("OPENAI_API_KEY", "hunter2"), ("LANG", "C.UTF-8")];
    let local = LocalRun::start(folder.path(), &settings).await;
    let server = postmaster(folder.path()).as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{server}/status")).unwrap();
    let supervisor = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .unwrap();
    for process in [server.to_string().as_str(), supervisor.trim()] {
        let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        assert!(environment.contains("LANG=C.UTF-8"), "{environment}");
        assert!(!environment.contains("hunter2"), "{environment}");
    }
    local.stop().await;
}

#[tokio::test]
async fn data_that_cannot_be_read_is_not_set_up_again() {
    let folder = tempfile::tempdir().unwrap();
    assert!(run(&["migrate"], folder.path(), &[]).await.success);
    let home = folder.path().join("postgres");
    let password = std::fs::read_to_string(home.join("password")).unwrap();
    let (version, away) = (home.join("data/PG_VERSION"), home.join("PG_VERSION"));
    std::fs::rename(&version, &away).unwrap();

    let refused = run(&["check"], folder.path(), &[]).await;

    assert!(!refused.success);
    assert!(
        refused.complained.contains("PostgreSQL's data"),
        "{refused:?}"
    );
    let kept = std::fs::read_to_string(home.join("password")).unwrap();
    assert_eq!(kept, password);
    std::fs::rename(&away, &version).unwrap();
    assert!(run(&["check"], folder.path(), &[]).await.success);
}

#[tokio::test]
async fn root_owns_everything_but_the_data() {
    let folder = tempfile::tempdir().unwrap();
    assert!(run(&["migrate"], folder.path(), &[]).await.success);
    let ours = rustix::process::geteuid();
    let home = folder.path().join("postgres");
    assert_eq!(home.metadata().unwrap().uid(), ours.as_raw());
    for entry in std::fs::read_dir(&home).unwrap() {
        let entry = entry.unwrap();
        let is_ours = entry.metadata().unwrap().uid() == ours.as_raw();
        let expected = !ours.is_root() || entry.file_name() != "data";
        assert_eq!(is_ours, expected, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn the_server_of_the_tests_leaves_nothing_behind() {
    let name = format!("daissy-tests-{}", Uuid::new_v4().simple());
    let folder = std::env::temp_dir().join(name);
    let server = postgres::another_server(&folder, Durability::Throwaway).await;
    assert!(folder.join("data").exists());

    server.stop().await;

    assert!(!folder.exists());
}

#[tokio::test]
async fn a_second_instance_and_a_taken_port_are_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalRun::start(folder.path(), &[]).await;

    let second = run(&[], folder.path(), &[]).await;
    assert!(!second.success);
    for expected in ["another instance", "LOCAL_DIR"] {
        assert!(second.complained.contains(expected), "{second:?}");
    }

    let port = local.address.rsplit(':').next().unwrap().to_owned();
    let other = tempfile::tempdir().unwrap();
    let taken = run(&[], other.path(), &[("PORT", &port)]).await;
    assert!(!taken.success);
    for expected in [port.as_str(), "set PORT"] {
        assert!(taken.complained.contains(expected), "{taken:?}");
    }
    assert!(
        !other.path().join("postgres").exists(),
        "no database is set up for nothing"
    );
    local.stop().await;
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let unreachable = "postgresql://u:hunter2@127.0.0.1:1/d";
    let cases: [(&str, &str, &[&str]); 11] = [
        ("DATABASE_URL", unreachable, &["refused", "d on 127.0.0.1"]),
        (
            "DATABASE_URL",
            "mysql://u:hunter2@h/d",
            &["DATABASE_URL", "postgresql://"],
        ),
        (
            "DATABASE_URL",
            "postgresql://u:hunter2@h/d?sslmode=hunter2",
            &["sslmode"],
        ),
        (
            "POSTGRES_BIN_DIR",
            "/nowhere",
            &["POSTGRES_BIN_DIR", "/nowhere"],
        ),
        ("PORT", "http", &["PORT"]),
        ("PORT", "99999", &["PORT"]),
        ("HOST", "203.0.113.1", &["HOST"]),
        ("CORS_ALLOWED_ORIGINS", "*", &["CORS_ALLOWED_ORIGINS"]),
        ("MODEL", "gpt-4o", &["OPENAI_API_KEY"]),
        ("MODEL_BASE_URL", "http://localhost:1", &["MODEL"]),
        ("LOCAL_DIR", "/proc/daissy", &["/proc/daissy"]),
    ];
    for (name, value, expected) in cases {
        let ended = run(&[], folder.path(), &[(name, value)]).await;
        assert!(!ended.success, "{name}={value}");
        assert!(ended.complained.starts_with("error: "), "{ended:?}");
        for expected in expected {
            assert!(
                ended.complained.contains(expected),
                "{name}={value}: {ended:?}"
            );
        }
        assert!(!ended.complained.contains("hunter2"), "{ended:?}");
        assert!(!ended.complained.contains("panicked"), "{ended:?}");
    }
}

#[tokio::test]
async fn it_opens_up_to_eight_connections_unless_the_setting_says_otherwise() {
    let database = postgres::migrated_database().await;
    let slow = "create function slow() returns trigger language plpgsql as
                $$ begin perform pg_sleep(0.05); return new; end $$;
                create trigger slow before insert on chat_messages
                for each row execute function slow()";
    postgres::run(&database, slow).await;
    let folder = tempfile::tempdir().unwrap();
    for (setting, expected) in [("", 8), ("2", 2)] {
        let proxy = Proxy::start(postgres::server().port()).await;
        let url = proxy.through(&postgres::server().url(&database));
        let settings = [
            ("DATABASE_URL", &*url),
            ("DATABASE_CONNECTIONS", setting),
            // A run of `maintain` has a connection of its own.
            ("MAINTAIN_EVERY_MINUTES", "0"),
        ];
        let local = LocalRun::start(folder.path(), &settings).await;
        let before = proxy.connections();

        let body = json!({ "query": "Hi" });
        let turns = (0..32).map(|_| chat(&local.address, &body));
        for (status, body) in futures_util::future::join_all(turns).await {
            assert_eq!(status, 200, "{body}");
        }

        assert_eq!(proxy.connections() - before, expected);
        local.stop().await;
    }

    let url = postgres::server().url(&database);
    let settings = [("DATABASE_URL", &*url), ("DATABASE_CONNECTIONS", "0")];
    let ended = run(&[], folder.path(), &settings).await;
    assert!(
        ended.complained.contains("DATABASE_CONNECTIONS must be"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_broken_env_file_is_reported_by_line_and_one_in_a_parent_folder_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let words = "PORT=0\n# words\nSYSTEM_PROMPT=You are hunter2\n";
    std::fs::write(folder.path().join(".env"), words).unwrap();

    let broken = run_in(folder.path(), &["help"], folder.path()).await;
    assert!(!broken.success);
    for expected in ["line 3", "single quotes"] {
        assert!(broken.complained.contains(expected), "{broken:?}");
    }
    assert!(!broken.complained.contains("hunter2"), "{broken:?}");

    let below = run_in(&inner, &["help"], folder.path()).await;
    assert!(below.success, "{below:?}");
}

#[tokio::test]
async fn a_log_in_a_file_has_no_colours() {
    let folder = tempfile::tempdir().unwrap();
    let database = postgres::migrated_database().await;
    let url = postgres::server().url(&database);
    let settings = [("DATABASE_URL", url.as_str()), ("RUST_LOG", "info")];
    let local = LocalRun::start(folder.path(), &settings).await;
    chat(&local.address, &json!({ "query": "Hi" })).await;
    let logged = local.complaints().text();
    assert!(logged.contains("INFO"), "{logged}");
    assert!(!logged.contains('\u{1b}'), "{logged}");
    local.stop().await;
}

#[tokio::test]
async fn an_unknown_command_shows_the_usage() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run(&["serve"], folder.path(), &[]).await;
    assert!(
        !ended.success && ended.complained.contains("usage"),
        "{ended:?}"
    );
    let ended = run(&["help"], folder.path(), &[]).await;
    assert!(
        ended.success && ended.printed.contains("migrate"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn migrate_and_check_work_on_a_given_database() {
    let folder = tempfile::tempdir().unwrap();
    let database = postgres::empty_database().await;
    let url = postgres::server().url(&database);
    let settings = [("DATABASE_URL", url.as_str())];

    let pending = run(&["check"], folder.path(), &settings).await;
    assert!(!pending.success);
    assert!(
        pending
            .printed
            .contains("pending: V1__sessions_and_messages"),
        "{pending:?}"
    );
    assert!(
        pending.complained.contains("cargo run -- migrate"),
        "{pending:?}"
    );

    let migrated = run(&["migrate"], folder.path(), &settings).await;
    assert!(
        migrated.success && migrated.printed.contains("applied V1__"),
        "{migrated:?}"
    );
    let again = run(&["migrate"], folder.path(), &settings).await;
    assert!(
        again.success && again.printed.contains("up to date"),
        "{again:?}"
    );

    let checked = run(&["check"], folder.path(), &settings).await;
    assert!(checked.success, "{checked:?}");
    for expected in [
        database.as_str(),
        "PostgreSQL ",
        "connected as daissy",
        "TLS       off",
        "up to date",
        "rights    complete",
    ] {
        assert!(
            checked.printed.contains(expected),
            "{expected}: {checked:?}"
        );
    }
    assert!(
        std::fs::read_dir(folder.path()).unwrap().next().is_none(),
        "no server was set up"
    );

    let role = format!("role_{}", Uuid::new_v4().simple());
    postgres::run(
        &database,
        &format!(
            "create role {role} login password 'p';
             grant select on all tables in schema public to {role}"
        ),
    )
    .await;
    let lacking = postgres::url_as(&role, "p", &database);
    let lacking = run(&["check"], folder.path(), &[("DATABASE_URL", &lacking)]).await;
    assert!(!lacking.success);
    for expected in [
        "INSERT on chat_messages",
        "UPDATE on chat_sessions",
        "INSERT on chat_sessions",
    ] {
        assert!(lacking.printed.contains(expected), "{lacking:?}");
    }
}

#[tokio::test]
async fn check_names_the_right_to_read_the_schema_version() {
    let folder = tempfile::tempdir().unwrap();
    let database = postgres::migrated_database().await;
    let role = format!("role_{}", Uuid::new_v4().simple());
    postgres::run(&database, &format!("create role {role} login password 'p'")).await;
    let url = postgres::url_as(&role, "p", &database);
    let checked = run(&["check"], folder.path(), &[("DATABASE_URL", &url)]).await;
    assert!(!checked.success);
    assert!(
        checked
            .printed
            .contains("SELECT on refinery_schema_history"),
        "{checked:?}"
    );
}

#[tokio::test]
async fn migrate_and_check_work_on_its_own_database() {
    let folder = tempfile::tempdir().unwrap();
    let migrated = run(&["migrate"], folder.path(), &[]).await;
    assert!(
        migrated.success && migrated.printed.contains("applied V1__"),
        "{migrated:?}"
    );
    let checked = run(&["check"], folder.path(), &[]).await;
    assert!(
        checked.success && checked.printed.contains("rights    complete"),
        "{checked:?}"
    );
}
