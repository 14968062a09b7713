#[derive(serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
struct Category {
    name: String,
    children: Vec<Category>,
}

#[derive(serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
enum Tree {
    Leaf,
    Node(Box<Tree>, Box<Self>),
}

fn main() {}
