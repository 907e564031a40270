//! Agents, what they run with, and the instances of services.

use axum::extract::State;
use query_api::{PushRequest, RollbackRequest};

use super::{Answer, Sent, read};
use crate::http::params::Params;
use crate::http::{App, routes};

pub(in crate::http) async fn agents(State(app): State<App>, params: Params) -> Answer {
    params.only(&[])?;
    app.json(|engine, _| Ok(engine.fleet.agents())).await
}

pub(in crate::http) async fn inventory(State(app): State<App>, params: Params) -> Answer {
    params.only(&[])?;
    app.json(|engine, _| Ok(engine.fleet.inventory())).await
}

pub(in crate::http) async fn agent_stages(State(app): State<App>, params: Params) -> Answer {
    params.only(&[])?;
    app.json(|engine, _| Ok(engine.fleet.stages())).await
}

pub(in crate::http) async fn agent_config(State(app): State<App>, params: Params) -> Answer {
    let params = params.only(routes::AGENT)?;
    let agent = params.required("agent")?.to_owned();
    app.json(move |engine, _| Ok(engine.fleet.config(&agent)?)).await
}

pub(in crate::http) async fn push_agents(State(app): State<App>, request: Sent<PushRequest>) -> Answer {
    let request = read(request)?;
    app.json(move |engine, _| Ok(engine.fleet.push(request)?)).await
}

pub(in crate::http) async fn rollback_agents(
    State(app): State<App>,
    request: Sent<RollbackRequest>,
) -> Answer {
    let request = read(request)?;
    app.json(move |engine, _| Ok(engine.fleet.rollback(request)?)).await
}
