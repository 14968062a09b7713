use cloakroom::TypedSession;

struct Shop {
    views: u64,
}

async fn handler(session: TypedSession<Shop>) -> u64 {
    *session.views
}

fn main() {}
