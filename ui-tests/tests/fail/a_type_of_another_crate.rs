use cloakroom::SessionData;

#[derive(SessionData)]
struct Shop {
    started: Option<std::thread::ThreadId>,
}

fn main() {}
