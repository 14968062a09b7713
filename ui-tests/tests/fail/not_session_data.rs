use cloakroom::SessionData;

struct Shop {
    views: u64,
}

fn start<T: SessionData>() -> T {
    T::initial()
}

fn main() {
    let shop: Shop = start();
    drop(shop.views);
}
