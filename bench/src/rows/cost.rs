//! Dollars per million turns, from what turns use here and what AWS asks for it.

use super::{Stage, database, relation_bytes, warm};
use crate::database::TODAY;
use crate::load::Call;
use crate::progress;
use crate::report::Report;

/// Prices in us-east-1, in dollars; docs/performance.md says when and where they were published.
const LAMBDA_REQUEST: f64 = 0.2e-6;
const LAMBDA_GB_SECOND: [(&str, f64); 2] = [("arm64", 13.3334e-6), ("x86", 16.6667e-6)];
/// An hour of a vCPU: Aurora Serverless v2, by capacity units, and a provisioned instance of two vCPUs.
const VCPU_HOUR: [(&str, f64); 2] = [
    ("Aurora Serverless v2", ACU_HOUR * ACUS_OF_A_VCPU),
    ("db.r7g.large", 0.276 / 2.0),
];
const ACU_HOUR: f64 = 0.12;
const ACUS_OF_A_VCPU: f64 = 4.0;
const STORAGE_GB_MONTH: f64 = 0.1;

/// The memory of the function `chat` in the template, in GB.
const MEMORY_GB: f64 = 0.5;

/// The part of the database's CPU that is used on average: some is kept for peaks.
const USE: f64 = 0.3;

/// Turns that are paid for.
const TURNS: f64 = 1e6;

/// Measures the row.
pub async fn measure(stage: &Stage, report: &mut Report) {
    let invocation_ms = warm::invocation(stage, "chat", &stage.sessions[0])
        .await
        .median_ms;
    let (server_ms, floor_ms) = database::server_ms(stage, "chat").await;
    let stored = bytes_per_turn(stage).await;

    for (processor, price) in LAMBDA_GB_SECOND {
        // Lambda bills whole milliseconds.
        let dollars = |ms: f64| TURNS * (LAMBDA_REQUEST + ms.ceil() / 1e3 * MEMORY_GB * price);
        let floor = Some(dollars(1.0));
        report.add(
            format!("Lambda, {processor}"),
            dollars(invocation_ms),
            "$",
            floor,
            None,
        );
        let waiting = TURNS * MEMORY_GB * price;
        let what = format!("Lambda, {processor}, each second that the model takes");
        report.add(what, waiting, "$", None, None);
    }
    for (kind, price) in VCPU_HOUR {
        let dollars = |ms: f64| TURNS * ms / 1e3 / 3600.0 * price / USE;
        let what = format!("{kind}, {:.0} % used", USE * 100.0);
        report.add(what, dollars(server_ms), "$", Some(dollars(floor_ms)), None);
    }
    let dollars = TURNS * stored / 1e9 * STORAGE_GB_MONTH;
    report.add("Aurora, storage, each month", dollars, "$", None, None);
}

/// Bytes of tables and indexes that a turn adds.
async fn bytes_per_turn(stage: &Stage) -> f64 {
    progress::step("bytes of turns");
    let size = async || {
        let (tables, indexes) = relation_bytes(stage, TODAY).await;
        tables + indexes
    };
    let before = size().await;
    let calls: Vec<_> = stage.sessions.iter().map(|id| Call::chat(id)).collect();
    let (turns, _) = stage.local.load(&calls, stage.effort.load).await;
    (size().await - before) / turns
}
