//! Requests per second that the local server answers, beside pgbench with as many clients, which run the
//! plainest statements that do the same.

use super::{Stage, plain};
use crate::database::TODAY;
use crate::load::Call;
use crate::pgbench::{Run, SESSION};
use crate::progress;
use crate::report::{Report, Wanted};
use crate::sample::median;

/// How many callers there are.
const CALLERS: [usize; 3] = [1, 8, 64];

/// How often each load is measured, in turn with its floor.
const ROUNDS: usize = 2;

/// The part of pgbench's rate that should be reached with eight callers.
fn wanted(name: &str) -> Wanted {
    Wanted::RatioAtLeast(if name == "history" { 0.35 } else { 0.4 })
}

/// The part of the rate with eight callers that should be reached with 64.
const WANTED_OF_MANY: f64 = 0.85;

/// Measures the row.
pub async fn measure(stage: &Stage, report: &mut Report) {
    for name in ["status", "history", "chat"] {
        let mut of_eight = None;
        for callers in CALLERS {
            let (rate, floor) = rates(stage, name, callers).await;
            let what = |callers: usize| match (name, callers) {
                ("chat", 1) => "turns, 1 caller".to_owned(),
                ("chat", _) => format!("turns, {callers} callers"),
                (_, 1) => format!("{name}, 1 caller"),
                _ => format!("{name}, {callers} callers"),
            };
            let goal = (callers == 8).then(|| wanted(name));
            report.add(what(callers), rate, "per s", Some(floor), goal);
            if callers == 8 {
                of_eight = Some(rate);
            }
            if callers == 64 {
                let goal = Wanted::RatioAtLeast(WANTED_OF_MANY);
                let what = format!("{} to 8", what(callers));
                report.add(what, rate, "per s", of_eight, Some(goal));
            }
        }
    }
}

/// The rates of the local server and of pgbench.
async fn rates(stage: &Stage, name: &str, callers: usize) -> (f64, f64) {
    let sessions = &stage.sessions[..callers];
    let calls: Vec<_> = sessions
        .iter()
        .map(|id| Call::to_function(name, id))
        .collect();
    let statements = plain(name, SESSION).join(";\n");
    let (mut rates, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        progress::step(format!("throughput of {name}, {callers} at a time"));
        rates.push(stage.local.load(&calls, stage.effort.load).await.1);
        let run = Run {
            database: TODAY,
            statements: &statements,
            clients: callers,
            until: stage.effort.load,
            durable: true,
        };
        floors.push(run.start(&stage.database).await.per_second);
    }
    (median(rates), median(floors))
}
