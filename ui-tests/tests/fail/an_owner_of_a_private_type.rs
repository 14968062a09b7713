use cloakroom::SessionData;

#[derive(SessionData)]
pub struct Forum {
    #[session(owner)]
    member: Option<MemberId>,
}

#[derive(serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
struct MemberId(u32);

fn main() {}
