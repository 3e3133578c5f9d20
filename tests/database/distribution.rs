//! Conversations can be distributed by `session_id` (docs/scale.md): it is in every key, and every
//! statement says which sessions it looks at.

use std::collections::BTreeSet;

use regex::Regex;
use shared::store::statements::{self, Scope};
use tokio_postgres::types::Type;

use support::{TestApi, postgres};

/// The tables that hold what belongs to a session.
const CONVERSATION_TABLES: [&str; 6] = [
    "chat_events",
    "chat_feedback",
    "chat_messages",
    "chat_search",
    "chat_sessions",
    "chat_streams",
];

/// A turn that ends takes the text with it that was there while it ran.
const ENDED_STREAM: &str = "delete from public.chat_streams w";

#[tokio::test]
async fn every_key_of_a_conversation_contains_its_session() {
    let database = postgres::migrated_database().await;
    let connection = postgres::connect(&postgres::server().url(&database)).await;
    let tables = "select table_name::text from information_schema.columns
        where table_schema = 'public' and column_name = 'session_id' order by table_name";
    let rows = connection.client().query_typed(tables, &[]).await.unwrap();
    let with_session: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let known = CONVERSATION_TABLES.into_iter().chain(["chat_erasures"]);
    let mut known: Vec<_> = known.collect();
    known.sort_unstable();
    assert_eq!(with_session, known, "say where a new table belongs");
    let parts = statements::PARTS.iter().map(|part| part.table);
    let mut erased: Vec<_> = parts.chain(["chat_sessions"]).collect();
    erased.sort_unstable();
    assert_eq!(
        erased, CONVERSATION_TABLES,
        "a new table is erased with its session"
    );

    let keys = "select c.relname::text, i.relname::text, array(
            select a.attname::text from pg_attribute a
            where a.attrelid = c.oid and a.attnum = any(x.indkey)
        )
        from pg_index x
        join pg_class c on c.oid = x.indrelid
        join pg_class i on i.oid = x.indexrelid
        where c.relname = any($1)
          and x.indisunique
        union all
        select c.relname, f.conname, array(
            select a.attname::text from pg_attribute a
            where a.attrelid = c.oid and a.attnum = any(f.conkey)
        )
        from pg_constraint f
        join pg_class c on c.oid = f.conrelid
        where f.contype = 'f' and c.relname = any($1)";
    let tables: Vec<&str> = CONVERSATION_TABLES.to_vec();
    let rows = connection
        .client()
        .query_typed(keys, &[(&tables, Type::TEXT_ARRAY)])
        .await
        .unwrap();
    let mut without = Vec::new();
    for row in &rows {
        let columns: Vec<String> = row.get(2);
        if !columns.iter().any(|column| column == "session_id") {
            without.push((row.get::<_, String>(1), columns));
        }
    }
    without.sort();
    // The original's primary keys; a distributed installation drops them.
    let ids = ["chat_messages_pkey", "chat_sessions_pkey"];
    assert_eq!(
        without,
        ids.map(|key| (key.to_owned(), vec!["id".to_owned()]))
    );
}

#[tokio::test]
async fn every_statement_names_the_session_it_looks_at() {
    let api = TestApi::start().await;
    let connection = api.connection().await;
    let functions = "select proname::text, prosrc from pg_proc
        where pronamespace = 'public'::regnamespace and proname ~ '^(audio|chat)_'
          and prorettype <> 'trigger'::regtype";
    let rows = connection
        .client()
        .query_typed(functions, &[])
        .await
        .unwrap();
    let bodies: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();

    let mut called = BTreeSet::new();
    for statement in statements::ALL {
        let mut texts = vec![statement.sql.to_owned()];
        for (name, body) in &bodies {
            if statement.sql.contains(name.as_str()) {
                texts.push(body.clone());
                called.insert(name);
            }
        }
        match statement.scope {
            Scope::Schema | Scope::Catalogue | Scope::Maintain => continue,
            Scope::Owner => {
                for text in texts {
                    let without = without_owner(&text);
                    assert!(without.is_empty(), "{}: {without:?}", statement.name);
                }
                continue;
            }
            Scope::Session | Scope::SessionAndNew => {}
        }
        for text in texts {
            let unbound = unbound_tables(&text);
            assert!(unbound.is_empty(), "{}: {unbound:?}", statement.name);
            let opens = text.matches("insert into public.chat_sessions").count();
            if opens > 0 && !text.contains("values") {
                assert_eq!(statement.scope, Scope::SessionAndNew, "{}", statement.name);
            }
        }
    }
    let others = statements::BY_MAINTAIN.iter();
    for statement in others.chain(statements::OF_CATALOGUE) {
        let names = bodies.iter().map(|(name, _)| name);
        called.extend(names.filter(|name| statement.sql.contains(name.as_str())));
    }
    // Functions may call others.
    let is_called = |name: &String| {
        called.contains(name)
            || bodies
                .iter()
                .any(|(caller, body)| caller != name && body.contains(name))
    };
    let unused: Vec<_> = bodies
        .iter()
        .map(|(name, _)| name)
        .filter(|name| !is_called(name))
        .collect();
    assert!(
        unused.is_empty(),
        "functions that nothing calls: {unused:?}"
    );
}

#[tokio::test]
async fn the_catalogue_of_recordings_knows_no_conversations() {
    let api = TestApi::start().await;
    let connection = api.connection().await;
    let functions = "select proname::text, prosrc from pg_proc
        where pronamespace = 'public'::regnamespace and proname ~ '^audio_'";
    let rows = connection
        .client()
        .query_typed(functions, &[])
        .await
        .unwrap();
    let bodies = rows.iter().map(|row| (row.get(0), row.get(1)));
    let mut texts: Vec<(&str, &str)> = bodies.collect();
    for statement in statements::OF_CATALOGUE {
        assert_eq!(statement.scope, Scope::Catalogue, "{}", statement.name);
        texts.push((statement.name, statement.sql));
    }
    for (name, text) in texts {
        assert!(!text.contains("public.chat_"), "{name}: {text}");
    }
    for statement in statements::ALL {
        assert_ne!(statement.scope, Scope::Catalogue, "{}", statement.name);
    }
}

#[test]
fn only_maintain_deletes_and_looks_at_all_sessions() {
    let of_parts = statements::PARTS
        .iter()
        .flat_map(|part| [part.erase, part.count]);
    let by_maintain: Vec<_> = statements::BY_MAINTAIN
        .iter()
        .copied()
        .chain(of_parts)
        .collect();
    for statement in &by_maintain {
        assert_eq!(statement.scope, Scope::Maintain, "{}", statement.name);
        // What belongs to a session is found with it, and so is where the session is.
        let unbound: Vec<_> = unbound_tables(statement.sql)
            .into_iter()
            .filter(|found| !found.starts_with("chat_sessions"))
            .collect();
        assert!(unbound.is_empty(), "{}: {unbound:?}", statement.name);
    }
    let deleting: Vec<_> = by_maintain
        .iter()
        .filter(|statement| statement.sql.contains("delete from"))
        // Its table belongs to no session.
        .filter(|statement| {
            !statement
                .sql
                .contains("delete from public.chat_search_parts")
        })
        .collect();
    assert_eq!(deleting.len(), CONVERSATION_TABLES.len());
    for statement in deleting {
        let is_bound = ["s.erased_at is not null", "for update of e"]
            .iter()
            .all(|words| statement.sql.contains(words));
        assert!(
            is_bound,
            "{}: of marked sessions, one run at a time",
            statement.name
        );
    }
    for statement in statements::ALL {
        assert_ne!(statement.scope, Scope::Maintain, "{}", statement.name);
        let text = statement.sql.replace(ENDED_STREAM, "");
        assert!(!text.contains("delete from"), "{}", statement.name);
    }
    let comment = Regex::new("--.*").unwrap();
    let migrations = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations"));
    for file in migrations.unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let text = comment.replace_all(&text, "").replace(ENDED_STREAM, "");
        for table in CONVERSATION_TABLES {
            let delete = Regex::new(&format!(r"delete from public\.{table}\b")).unwrap();
            assert!(!delete.is_match(&text), "{}: {table}", path.display());
        }
    }
}

#[test]
fn a_table_that_is_read_without_its_session_is_found() {
    for (text, found) in [
        (
            "select 1 from public.chat_messages where session_id = $1",
            0,
        ),
        ("select 1 from public.chat_messages m where m.seq = $1", 1),
        (
            "select 1 from public.chat_messages a join public.chat_messages b on a.seq = b.seq
             where a.session_id = $1",
            1,
        ),
        (
            "update public.chat_sessions s set is_active = true where s.owner = $1",
            1,
        ),
        (
            "select 1 from public.chat_sessions s join public.chat_messages m using (session_id)
             where s.session_id = $1",
            0,
        ),
    ] {
        assert_eq!(unbound_tables(text).len(), found, "{text}");
    }
}

/// The places in a statement that read sessions and name neither their owner nor a session.
fn without_owner(text: &str) -> Vec<String> {
    let text = Regex::new("--.*").unwrap().replace_all(text, "");
    let sessions = Regex::new(r"(?:from|join)\s+public\.chat_sessions").unwrap();
    let bound = Regex::new(r"\b(owner\s*=\s*(\$1|in_owner)|owner is null|owner is not distinct from in_owner|session_id\s*=\s*\w+)").unwrap();
    let starts: Vec<_> = sessions
        .find_iter(&text)
        .map(|found| found.start())
        .collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let parts = starts
        .iter()
        .zip(ends)
        .map(|(start, end)| &text[*start..end]);
    parts
        .filter(|part| !bound.is_match(part))
        .map(str::to_owned)
        .collect()
}

/// The places in a statement, or in the body of a function, that read or change a table of
/// conversations without naming the session, each as its table and alias.
fn unbound_tables(text: &str) -> Vec<String> {
    // A part is a statement of a function's body, or a common table expression.
    let text = Regex::new("--.*").unwrap().replace_all(text, "");
    let parts = Regex::new(r";|\n\),|\n\)\n").unwrap();
    let table = Regex::new(
        r"(?:from|join|update)\s+public\.(chat_events|chat_feedback|chat_messages|chat_sessions|chat_streams)(?:\s+(\w+))?",
    )
    .unwrap();
    let keywords = [
        "where", "set", "using", "on", "left", "join", "order", "cross",
    ];
    let mut unbound = Vec::new();
    for part in parts.split(&text) {
        for found in table.captures_iter(part) {
            let alias = found.get(2).map_or("", |alias| alias.as_str());
            let name = if alias.is_empty() || keywords.contains(&alias) {
                String::new()
            } else {
                format!(r"\b{alias}\.")
            };
            let id = r"(\$\d|in_session_id|\w+\.session_id)";
            let is_bound = Regex::new(&format!(
                r"{name}session_id\s*=\s*{id}|join public\.\w+ \w+ using \(session_id\)"
            ))
            .unwrap();
            if !is_bound.is_match(part) {
                unbound.push(format!("{} {alias}", &found[1]));
            }
        }
    }
    unbound
}
