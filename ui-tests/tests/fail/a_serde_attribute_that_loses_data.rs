#[derive(serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
#[serde(rename_all = "camelCase", tag = "kind")]
enum Event {
    #[serde(skip)]
    None,
    Bought {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        coupon: Option<String>,
        #[serde(with = "seconds")]
        at: u64,
    },
}

mod seconds {
    pub fn serialize<S: serde::Serializer>(at: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(*at)
    }
    pub fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        serde::Deserialize::deserialize(from)
    }
}

fn main() {}
