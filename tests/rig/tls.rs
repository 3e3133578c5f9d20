//! TLS and access rules of a running PostgreSQL.

use std::time::Duration;

use crate::certificates::Signed;

/// The rule that admits every user with a password.
pub const EVERYBODY: &str = "host all all all scram-sha-256";

/// Turns TLS on with a certificate, or off. Requests client certificates of this authority if one is
/// given. Admits clients by these rules of `pg_hba.conf`; the user `administrator` keeps access without
/// TLS.
///
/// `query` runs a statement as a superuser on a new connection, and returns the first value of its result.
pub async fn configure(
    query: impl AsyncFn(&str) -> Option<String>,
    administrator: &str,
    tls: Option<&Signed>,
    client_authority: &str,
    rules: &str,
) {
    let write = async |name: &str, content: &str| {
        // The server's own account writes the file, so the key is as private as the server requires.
        query(&format!(
            "copy (select unnest(string_to_array('{content}', E'\\n')))
             to program 'umask 077; cat > {name}'"
        ))
        .await;
    };
    if let Some(signed) = tls {
        write("server.crt", &signed.certificate).await;
        write("server.key", &signed.key).await;
    }
    write("clients.crt", client_authority).await;
    // The first line keeps access for the administrator, who changes these rules.
    let rules = format!("hostnossl all {administrator} 127.0.0.1/32 scram-sha-256\n{rules}");
    write("pg_hba.conf", &rules).await;
    let ca_file = if client_authority.is_empty() {
        ""
    } else {
        "clients.crt"
    };
    query(&format!("alter system set ssl_ca_file = '{ca_file}'")).await;
    let on = if tls.is_some() { "on" } else { "off" };
    query(&format!("alter system set ssl = {on}")).await;
    reload(query).await;
}

/// Makes the server read its settings again, and waits until it has. `query` is as for [`configure`].
pub async fn reload(query: impl AsyncFn(&str) -> Option<String>) {
    const LOADED_AT: &str = "select pg_conf_load_time()::text";
    let loaded = query(LOADED_AT).await;
    query("select pg_reload_conf()").await;
    // The server reloads in the background; it is done when a new connection shows the new time.
    for _ in 0..200 {
        if query(LOADED_AT).await != loaded {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the server does not take the new settings");
}
