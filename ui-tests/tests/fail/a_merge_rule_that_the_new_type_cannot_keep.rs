use cloakroom::SessionData;

#[derive(SessionData)]
#[session(version = 2)]
struct Shop {
    #[session(merge = "add", changed(in = 2, from = u64, up = spelled, forget))]
    views: String,
}

fn spelled(views: u64) -> String {
    views.to_string()
}

fn main() {}
