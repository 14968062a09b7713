#[derive(serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
enum Theme {
    Light,
    #[session(key = "Light")]
    Bright,
    Both(#[session(key = "x")] u8, #[session(recursive, shape = "")] u8),
}

fn main() {}
