//! The access matrix once more, through API tokens of somebody who may do everything: a token with exactly what the
//! contract asks for is admitted where its owner is, one that lacks any of it is denied, and an RPC that takes a session
//! is closed to every token.

use super::*;

/// The owner: a SuperAdmin.
fn owner(matrix: &Matrix) -> Subject<'_> {
    Subject::Holder { role: matrix.role("SuperAdmin"), right: true }
}

/// What is asked of a token.
enum Token {
    /// Everything that its owner may do.
    Everything,
    /// Exactly what the rule asks for.
    Exact,
    /// The same without one of them, and with it for another thing where it is for one.
    Without(usize),
    /// Nothing at all.
    Nothing,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_may_exactly_what_their_scopes_say() {
    let server = TestServer::start().await;
    let (matrix, rpcs) = (Matrix::read(), rpcs());
    let cases: Vec<_> = rpcs.iter().flat_map(cases).collect();
    let foreign = server.tenant("elsewhere").await;
    let tokens = |case: &Case<'_>| match case.rpc.access.as_ref().unwrap() {
        Access::Grants(grants) if !case.rpc.session_only => {
            let without = (0..grants.len()).map(Token::Without);
            [Token::Exact, Token::Everything].into_iter().chain(without).collect()
        }
        _ => vec![Token::Everything, Token::Nothing],
    };
    let asked: Vec<_> =
        cases.iter().flat_map(|case| tokens(case).into_iter().map(move |token| (case, token))).collect();
    let found = stream::iter(&asked).map(|(case, token)| finding(&server, foreign, &matrix, case, token));
    let mut findings: Vec<String> = found.buffer_unordered(AT_ONCE).filter_map(async |finding| finding).collect().await;
    findings.sort();
    assert!(findings.is_empty(), "{} findings:\n  {}", findings.len(), findings.join("\n  "));
    server.stop().await;
}

async fn finding(server: &TestServer, foreign: i64, matrix: &Matrix, case: &Case<'_>, token: &Token) -> Option<String> {
    let mut scene = Scene::new(server, foreign, owner(matrix)).await;
    let request = case.by_hand.map_or_else(|| request(case.rpc, matrix, &scene), |line| (line.request)(&scene));
    let scopes = scopes(case.rpc, matrix, &scene, token);
    let scopes: Vec<_> = scopes.iter().map(String::as_str).collect();
    let person = scene.caller.take().unwrap();
    let program = server.api_token(&person, &scopes).await.bearer;
    scene.caller = Some(person);
    let result = server.call(Some(&program), &case.rpc.label(), request).await;
    let (actual, expected) = (Outcome::of(&result), expected_of(case, matrix, &scene, token));
    (actual != expected)
        .then(|| format!("{case} by a token with {scopes:?}: expected {expected:?}, got {actual:?} {result:?}"))
}

fn expected_of(case: &Case<'_>, matrix: &Matrix, scene: &Scene<'_>, token: &Token) -> Outcome {
    let rpc = case.rpc;
    let by_session = expected(case, matrix, scene);
    match rpc.access.as_ref().unwrap() {
        _ if rpc.session_only => Outcome::Denied,
        Access::SignedIn => Outcome::Denied,
        Access::Anyone => by_session,
        // nothing is asked for before there is a handler
        Access::Custom(_) if rpc.planned => by_session,
        Access::Grants(grants) if has_resolver(grants) && rpc.planned => by_session,
        Access::Grants(grants) => match token {
            Token::Without(_) if hides(grants) => Outcome::Hidden,
            Token::Exact | Token::Everything => by_session,
            Token::Without(_) | Token::Nothing => Outcome::Denied,
        },
        Access::Custom(_) | Access::List { .. } => match (token, &case.by_hand.unwrap().admitted) {
            (Token::Nothing, custom::Who::SignedIn) => by_session, // an empty list
            (Token::Nothing, _) => Outcome::Denied,
            // what only a SuperAdmin does takes a SuperAdmin who signed in
            (_, custom::Who::Holders { right: ["SuperAdmin"], anywhere: [] }) => Outcome::Denied,
            _ => by_session,
        },
    }
}

/// The scopes of the token, in words.
fn scopes(rpc: &Rpc, matrix: &Matrix, scene: &Scene<'_>, token: &Token) -> Vec<String> {
    let exact = |Grant { permission, context }: &Grant| {
        let place = matrix.requires(permission).map(|dimension| {
            let id = match context {
                Context::Caller => scene.own_id(),
                _ => scene.target(dimension),
            };
            (dimension.to_owned(), id)
        });
        (permission.clone(), place)
    };
    let needed: Vec<_> = match rpc.access.as_ref().unwrap() {
        Access::Grants(grants) => grants.iter().map(exact).collect(),
        _ => Vec::new(),
    };
    let text = |(permission, place): &(String, Option<(String, i64)>)| match place {
        None => permission.clone(),
        Some((dimension, id)) => format!("{permission}@{dimension}={id}"),
    };
    match token {
        Token::Everything => matrix
            .permissions()
            .map(|(permission, dimension)| match dimension {
                None => permission.to_owned(),
                Some(dimension) => format!("{permission}@{dimension}=*"),
            })
            .collect(),
        Token::Exact => needed.iter().map(text).collect(),
        Token::Without(lacking) => {
            let elsewhere = |(permission, place): &(String, Option<(String, i64)>)| {
                place.as_ref().map(|(dimension, id)| format!("{permission}@{dimension}={}", id + 1_000_000))
            };
            let others = needed.iter().enumerate().filter(|(at, _)| at != lacking).map(|(_, scope)| text(scope));
            others.chain(elsewhere(&needed[*lacking])).collect()
        }
        Token::Nothing => Vec::new(),
    }
}
