//! Boards, and the alert rules beside them.

use axum::extract::{Path, State};
use model::text::nearest;
use query_api::boards::NamedBoard;

use super::Answer;
use crate::http::App;
use crate::http::error::ApiError;
use crate::http::params::Params;

pub(in crate::http) async fn alerts(State(app): State<App>, params: Params) -> Answer {
    params.only(&[])?;
    app.json(|engine, _| Ok((engine.alerts)())).await
}

pub(in crate::http) async fn boards(State(app): State<App>, params: Params) -> Answer {
    params.only(&[])?;
    app.json(|engine, _| Ok(engine.boards.all())).await
}

pub(in crate::http) async fn board(
    State(app): State<App>,
    Path(name): Path<String>,
    params: Params,
) -> Answer {
    params.only(&[])?;
    app.json(move |engine, _| {
        let boards = engine.boards.all().boards;
        let names: Vec<String> = boards.iter().map(|board| board.name.clone()).collect();
        let board: Option<NamedBoard> = boards.into_iter().find(|board| board.name == name);
        board.ok_or_else(|| {
            let names = names.iter().map(String::as_str);
            let hint = match nearest(&name, names.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the boards are {}", names.collect::<Vec<_>>().join(", ")),
            };
            ApiError::not_found(format!("there is no board `{name}`")).with_hint(hint)
        })
    })
    .await
}
