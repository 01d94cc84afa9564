//! `undoubt begin`, `join`, `close`: open sagas.

use crate::args::{Begin, Close, Global, Join};
use crate::exit::{Exit, Failure};
use crate::submit;
use serde_json::json;
use undoubt_client::{Joined, OpenStep, Opening, Results, Work};
use undoubt_gateway::json as forms;

pub async fn begin(arguments: Begin, global: &Global) -> Result<Exit, Failure> {
    let mut opening =
        arguments.id.map_or_else(Opening::new, Opening::with_id).completions(arguments.completions.into());
    if let Some(deadline) = arguments.deadline {
        opening = opening.timeout(deadline);
    }
    if let Some(traceparent) = &arguments.trace.traceparent {
        opening = opening.trace_context(traceparent, &arguments.trace.tracestate);
    }
    if let [participant, question] = &arguments.check_back[..] {
        let question: Work = question.parse().map_err(|why| Failure::new(Exit::Usage, why))?;
        opening = opening.check_back(participant, question);
    }
    if let Some(parent) = arguments.parent {
        opening = opening.parent(parent);
    }
    if arguments.owner_only {
        opening = opening.owner_only();
    }
    let saga = global.client()?.begin(opening).await?;
    let id = saga.id().to_string();
    Ok(Exit::Done.told(global.output.show(&json!({ "tx": id, "state": "pending" }), || format!("open  {id}"))))
}

pub async fn join(arguments: Join, global: &Global) -> Result<Exit, Failure> {
    let work = |text: &Option<String>| -> Result<Option<Work>, Failure> {
        let usage = |why| Failure::new(Exit::Usage, why);
        text.as_ref().map(|text| text.parse::<Work>().map_err(usage)).transpose()
    };
    let mut step = OpenStep::new(&arguments.step, &arguments.on);
    let (action, undo, complete) = (work(&arguments.action)?, work(&arguments.undo)?, work(&arguments.complete)?);
    let has_action = action.is_some();
    if let Some(action) = action {
        step = step.action(action);
    }
    if let Some(undo) = undo {
        step = step.undo(undo);
    }
    if let Some(complete) = complete {
        step = step.complete(complete);
    }
    let saga = global.client()?.open_saga(arguments.tx);
    let (tx, name) = (saga.id().to_string(), arguments.step);
    let (state, results) = if has_action && !arguments.no_wait {
        ("done", Some(saga.run(step).await?))
    } else {
        match saga.join(step).await? {
            Joined::Joined => ("joined", None),
            Joined::Running => ("running", None),
            Joined::Done(result) => ("done", Some(Results::read(&result))),
            Joined::Skipped => ("skipped", None),
            _ => ("unknown", None),
        }
    };
    let document = json!({ "tx": tx, "step": name, "state": state, "results": results });
    let shown = || {
        let rows = results.iter().flat_map(|results| results.shown(None));
        let rows: Vec<String> = rows.map(|[what, value]| format!("\n  {what}  {value}")).collect();
        format!("{state}  step {name} of {tx}{}", rows.concat())
    };
    Ok(Exit::Done.told(global.output.show(&document, shown)))
}

pub async fn close(arguments: Close, global: &Global) -> Result<Exit, Failure> {
    let saga = global.client()?.open_saga(arguments.tx);
    if arguments.no_wait {
        let known = saga.close_no_wait().await?;
        let outcome = forms::Outcome::new(saga.id(), &known);
        let printed = global.output.show(&outcome, || submit::headline(&outcome));
        return Ok(known.decided.as_ref().map_or(Exit::Done, submit::exit).told(printed));
    }
    let answer = match arguments.wait.applied_within() {
        Some(within) => saga.close_applied(within).await?,
        None => saga.close().await?,
    };
    Ok(submit::show(saga.id(), &answer, global))
}
