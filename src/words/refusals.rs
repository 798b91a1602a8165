//! The words of every refusal and fault.

use scanback_wallet::WalletKind;

use super::{Language, Words};
use crate::domain::{
    foreign::ForeignCode,
    order::OrderState,
    refund::RefundState,
    refusal::{Refusal, Unreadable},
};

/// The words of a refusal.
#[must_use]
pub fn of_refusal(refusal: &Refusal, language: Language) -> Words {
    let (title, detail, action) = texts(refusal);
    Words {
        title: language.pick(title.0, title.1),
        detail: language.pick(detail.0, detail.1),
        action: language.pick(action.0, action.1),
    }
}

/// The words of a fault that is not the caller's: `internal`, `dependency_unavailable`.
#[must_use]
pub fn of_fault(code: &str, language: Language) -> Words {
    let unavailable = code == "dependency_unavailable";
    let title = if unavailable {
        language.pick("服务暂时不可用", "A part of the service is down")
    } else {
        language.pick("内部错误", "Internal error")
    };
    let detail = if unavailable {
        language.pick(
            "数据库没有响应，本次请求没有发送或保留任何退款。",
            "The database does not answer; this call sent and reserved nothing.",
        )
    } else {
        language.pick(
            "服务出现故障，原因已按请求编号记录。",
            "The service has a fault; the cause is in its log under the request id.",
        )
    };
    let action = if unavailable {
        language.pick("稍后用同一个幂等键重试。", "Try again in a moment with the same Idempotency-Key.")
    } else {
        language.pick(
            "先查询退款状态，再联系技术支持并提供请求编号。",
            "Look the refund up first, then call support with the request id.",
        )
    };
    Words { title, detail: detail.to_owned(), action }
}

type Both<T> = (T, T);
type Texts = (Both<&'static str>, Both<String>, Both<&'static str>);

const ASK_MANAGER: Both<&str> = ("请店长处理。", "Ask a manager.");
const SCAN_AGAIN: Both<&str> =
    ("请让顾客刷新付款码后重新扫描。", "Ask the customer to refresh the code and scan again.");
const FIX_REQUEST: Both<&str> = ("请联系收银系统的技术支持。", "Ask whoever looks after the till software.");
const TRY_LATER: Both<&str> = ("请稍等片刻后重试。", "Wait a moment and try again.");
const CHECK_NUMBER: Both<&str> =
    ("请核对订单号，或扫描账单上的条码。", "Check the number, or scan the code on the bill page.");

fn both(chinese: &str, english: &str) -> Both<String> {
    (chinese.to_owned(), english.to_owned())
}

fn texts(refusal: &Refusal) -> Texts {
    use Refusal as R;
    match refusal {
        R::FrameUnreadable { why, .. } => frame(*why),
        R::FrameTooLarge(detail) => (
            ("图片太大", "The picture is too large"),
            both("图片的字节数或像素数超过上限。", detail),
            ("请降低相机分辨率后重新拍摄。", "Lower the camera's resolution and take it again."),
        ),
        R::CodeNotRecognised { seen } => (
            ("无法识别的码", "Not a code for refunds"),
            of_foreign(*seen),
            (
                "请让顾客打开付款码，或打开账单详情页的条码。",
                "Ask for the payment code, or the bar code of the bill page.",
            ),
        ),
        R::CodeAmbiguous => (
            ("画面中有两个码", "Two codes in the picture"),
            both(
                "画面中有两个不同的码，无法判断用哪一个。",
                "There are two different codes; which one is meant can't be told.",
            ),
            ("请只对准一个码重新扫描。", "Show one code alone and scan again."),
        ),
        R::WalletMismatch { code, order } => (
            ("钱包不符", "Another wallet's code"),
            both(
                &format!("扫描的码属于 {code}，订单属于 {order}。"),
                &format!("The code is of {code}, the order of {order}."),
            ),
            ("请让顾客打开付款时使用的钱包。", "Ask the customer to open the wallet that paid."),
        ),
        R::PayerMismatch => (
            ("不是付款人", "Not the payer"),
            both(
                "出示付款码的人不是这笔订单的付款人。",
                "The payment code belongs to another person than the one who paid the order.",
            ),
            ("请付款人本人出示付款码。", "Ask the person who paid to show the payment code."),
        ),
        R::ScanOrderMismatch => (
            ("订单不符", "Another order's code"),
            both("扫描的码属于另一笔订单。", "The scanned code names another order than the request."),
            CHECK_NUMBER,
        ),
        R::ScanRequired => (
            ("需要扫码", "A scan is needed"),
            both("终端退款需要本终端新扫描的码。", "A terminal's refund needs a fresh scan made at this terminal."),
            ("请扫描顾客的付款码或账单条码。", "Scan the customer's payment code or bill code."),
        ),
        R::ScanExpired { max_age_s } => (
            ("扫码已过期", "The scan is too old"),
            both(&format!("扫码超过 {max_age_s} 秒。"), &format!("The scan is older than {max_age_s} seconds.")),
            SCAN_AGAIN,
        ),
        R::ScanUsed => (
            ("扫码已被使用", "The scan was used"),
            both("这次扫码已用于另一笔退款。", "This scan was used for another refund."),
            SCAN_AGAIN,
        ),
        R::OrderRequired { .. } => (
            ("需要订单号", "Which order?"),
            both("付款码不能指明订单。", "A payment code names no order."),
            ("请输入订单号，或扫描账单条码。", "Enter the order number, or scan the bill's code."),
        ),
        R::OrderNotFound => (
            ("找不到订单", "No such order"),
            both(
                "本商户的记录和钱包里都没有这笔订单。",
                "Neither our books nor the merchant's wallets have this order.",
            ),
            CHECK_NUMBER,
        ),
        R::OrderNotRefundable { state } => (
            ("订单不能退款", "The order can't be refunded"),
            both(&format!("订单状态为{}。", order_state(*state)), &format!("The order is {}.", state.as_str())),
            ASK_MANAGER,
        ),
        R::OrderAmbiguous { .. } => (
            ("订单号不唯一", "Several orders have this number"),
            both("多个钱包都有这个订单号。", "More than one order has this number."),
            ("请指明钱包。", "Say which wallet."),
        ),
        R::OrderConflict { field } => (
            ("订单内容冲突", "Registered with other content"),
            both(
                &format!("该订单已登记，但 {field} 不同。"),
                &format!("The order is registered with another {field}."),
            ),
            FIX_REQUEST,
        ),
        R::OrderMismatch { field } => (
            ("与钱包记录不符", "The wallet's record differs"),
            both(
                &format!("钱包记录中的 {field} 与登记的不同。"),
                &format!("The wallet's record has another {field} than was registered."),
            ),
            ASK_MANAGER,
        ),
        R::OrderFrozen => (
            ("订单已冻结", "The order is frozen"),
            both("该订单需要人工核对后才能退款。", "A person must look at this order before any refund."),
            ASK_MANAGER,
        ),
        R::AmountExceedsRefundable { refundable } => (
            ("超过可退金额", "More than is left"),
            both(&format!("可退金额为 {refundable}。"), &format!("{refundable} is left to refund.")),
            ("请按可退金额退款。", "Refund at most what is left."),
        ),
        R::RefundableChanged { refundable } => (
            ("可退金额已变化", "What is left has changed"),
            both(&format!("现在可退 {refundable}。"), &format!("{refundable} is left now.")),
            ("请核对后按新金额重试。", "Check, then try again with the present amount."),
        ),
        R::RefundWindowPassed { until } => (
            ("已过退款期限", "Too late to refund"),
            both(&format!("退款期限为 {until}。"), &format!("The window ended at {until}.")),
            ASK_MANAGER,
        ),
        R::PartialRefundNotAllowed => (
            ("不支持部分退款", "Only in full"),
            both("该订单只能全额退款。", "This order can be refunded only in full."),
            ("请退还全部可退金额。", "Refund all that is left."),
        ),
        R::TooManyRefunds { max } => (
            ("退款次数过多", "Too many refunds"),
            both(
                &format!("钱包对一笔订单最多接受 {max} 次退款。"),
                &format!("The wallet takes at most {max} refunds for an order."),
            ),
            ASK_MANAGER,
        ),
        R::PolicyRefused(why) => (
            ("不符合退款规则", "Against the refund policy"),
            both("退款规则不允许这笔退款，或需要审批。", &format!("The policy refuses: {why}.")),
            ASK_MANAGER,
        ),
        R::OperatorUnknown => (
            ("找不到操作员", "No such operator"),
            both("本商户没有这名操作员。", "The merchant has no such operator."),
            ("请核对操作员编号。", "Check the operator's id."),
        ),
        R::PinWrong => (
            ("PIN 错误", "Wrong PIN"),
            both("操作员的 PIN 不正确。", "The operator's PIN is wrong."),
            ("请重新输入。", "Enter it again."),
        ),
        R::OperatorLocked { until } => (
            ("操作员已锁定", "The operator is locked"),
            both(&format!("锁定至 {until}。"), &format!("Locked until {until} after five wrong PINs.")),
            ASK_MANAGER,
        ),
        R::RefundNotFound => (
            ("找不到退款", "No such refund"),
            both("本商户没有这笔退款。", "The merchant has no such refund."),
            ("请核对退款编号。", "Check the refund's id."),
        ),
        R::RefundStateConflict(state) => (
            ("退款状态不允许", "Not in this state"),
            both(&format!("退款状态为{}。", refund_state(*state)), &format!("The refund is {state}.")),
            ASK_MANAGER,
        ),
        R::IdempotencyKeyMissing(detail) => (
            ("缺少幂等键", "No usable Idempotency-Key"),
            both("请求需要一个 1 到 255 个可见 ASCII 字符的 Idempotency-Key。", detail),
            FIX_REQUEST,
        ),
        R::IdempotencyKeyReused => (
            ("幂等键被重复使用", "Idempotency-Key reused"),
            both("这个键已用于另一个请求。", "This key was used for another request."),
            FIX_REQUEST,
        ),
        R::RequestInProgress => (
            ("请求正在处理", "Still working on it"),
            both("使用同一个键的请求正在处理。", "A request with the same key is still running."),
            TRY_LATER,
        ),
        R::Unauthenticated => (
            ("未认证", "Not authenticated"),
            both("缺少令牌，或令牌无效。", "There is no token, or it is not valid."),
            FIX_REQUEST,
        ),
        R::Forbidden => (
            ("没有权限", "Not allowed"),
            both("该令牌的角色不允许此操作。", "The token's role does not allow this."),
            FIX_REQUEST,
        ),
        R::RateLimited { retry_after_s } => (
            ("请求过于频繁", "Too many requests"),
            both(&format!("请在 {retry_after_s} 秒后重试。"), &format!("Come back in {retry_after_s} s.")),
            TRY_LATER,
        ),
        R::WalletUnavailable { wallet } => (
            ("钱包暂时不可用", "The wallet can't be reached"),
            both(
                &format!("{wallet} 没有响应，没有发送或保留任何退款。"),
                &format!("{wallet} gives no usable answer; nothing was sent or reserved."),
            ),
            TRY_LATER,
        ),
        R::Overloaded => (
            ("系统繁忙", "Too busy"),
            both(
                "等待处理的请求太多，没有发送或保留任何退款。",
                "Too much work is waiting; nothing was sent or reserved.",
            ),
            TRY_LATER,
        ),
        R::ValidationFailed(fields) => {
            let names: Vec<_> = fields.iter().map(|field| field.field.as_str()).collect();
            let named: Vec<_> = fields.iter().map(|field| format!("{}: {}", field.field, field.problem)).collect();
            (
                ("字段有误", "Fields are wrong"),
                both(&format!("有误的字段：{}。", names.join("、")), &named.join("; ")),
                FIX_REQUEST,
            )
        }
        R::CurrencyMismatch { order } => (
            ("币种不符", "Another currency"),
            both(&format!("订单币种为 {order}。"), &format!("The order is in {order}.")),
            FIX_REQUEST,
        ),
        R::MalformedRequest(detail) => {
            (("请求无法读取", "The request can't be read"), both("请求内容的格式不正确。", detail), FIX_REQUEST)
        }
        R::NotFound => (
            ("不存在", "Nothing is there"),
            both("这个地址没有内容。", "There is nothing at this address."),
            FIX_REQUEST,
        ),
        R::MethodNotAllowed => (
            ("方法不允许", "Another method is meant"),
            both("这个地址不支持该方法。", "This address has other methods."),
            FIX_REQUEST,
        ),
        R::BodyTooLarge { max_bytes } => (
            ("内容太大", "The body is too large"),
            both(&format!("最多 {max_bytes} 字节。"), &format!("At most {max_bytes} bytes are taken here.")),
            FIX_REQUEST,
        ),
        R::UnsupportedMediaType(expected) => (
            ("内容类型不支持", "Another content type is meant"),
            both(&format!("应为 {expected}。"), &format!("Send {expected}.")),
            FIX_REQUEST,
        ),
    }
}

fn frame(why: Unreadable) -> Texts {
    let title = ("画面无法识别", "Nothing could be read");
    match why {
        Unreadable::NotAnImage => (
            title,
            both("内容不是可用的图片。", "The frame is not an image that can be read: send a whole JPEG, PNG or WebP."),
            ("请重新拍摄。", "Take the picture again."),
        ),
        Unreadable::Dark => (
            title,
            both("画面太暗。", "The picture is too dark."),
            ("请打开灯光，或调高手机屏幕亮度。", "Turn on a light, or make the telephone's screen brighter."),
        ),
        Unreadable::Glare => (
            title,
            both("画面有反光。", "There is glare on the picture."),
            ("请稍微倾斜手机，避开反光。", "Tilt the telephone a little, away from the light."),
        ),
        Unreadable::Blurred => (
            title,
            both("画面模糊。", "The picture is blurred."),
            ("请拿稳手机，对焦后重试。", "Hold still until it is sharp, and try again."),
        ),
        Unreadable::Far => (
            title,
            both("码离镜头太远。", "The code is too far away."),
            ("请把手机靠近镜头。", "Bring the telephone closer to the camera."),
        ),
        Unreadable::CutOff => (
            title,
            both("码没有完整进入画面。", "The code is cut off at the border."),
            ("请让整个码进入画面。", "Move the telephone so that the whole code is in the picture."),
        ),
        Unreadable::Damaged => (
            title,
            both(
                "找到了码，但码已损坏、被遮挡，或不是可用的码。",
                "A code was found, but it is damaged, covered, or of no kind that is used here.",
            ),
            (
                "请擦净屏幕或移开手指后重试；仍不行，请顾客刷新付款码，或手工输入单号。",
                "Wipe the screen, take fingers away and try again; if that fails, have the code renewed or type the number.",
            ),
        ),
        Unreadable::NoCode => (
            title,
            both("画面中没有码。", "There is no code in sight."),
            ("请让顾客打开付款码，对准镜头。", "Ask for the payment code and hold it in front of the camera."),
        ),
    }
}

const fn order_state(state: OrderState) -> &'static str {
    match state {
        OrderState::Unpaid => "未支付",
        OrderState::Paid => "已支付",
        OrderState::PartiallyRefunded => "部分退款",
        OrderState::Refunded => "已退款",
        OrderState::Voided => "已撤销",
        OrderState::Closed => "已关闭",
    }
}

const fn refund_state(state: RefundState) -> &'static str {
    match state {
        RefundState::AwaitingApproval => "待审批",
        RefundState::Submitting => "提交中",
        RefundState::Processing => "处理中",
        RefundState::Succeeded => "已退款",
        RefundState::Failed => "失败",
        RefundState::Abnormal => "异常",
        RefundState::Declined => "已拒绝",
        RefundState::Cancelled => "已取消",
    }
}

/// What a code is that can't lead to a refund.
fn of_foreign(seen: Option<ForeignCode>) -> (String, String) {
    let name = |wallet: WalletKind| match wallet {
        WalletKind::Wechat => ("微信", "WeChat Pay"),
        _ => ("支付宝", "Alipay"),
    };
    match seen {
        Some(ForeignCode::Collecting(wallet)) => {
            let (zh, en) = name(wallet);
            (
                format!("这是{zh}收款码，用来收钱，不能用来退款。"),
                format!("This is a collecting code of {en}: it takes money and can't give it back."),
            )
        }
        Some(ForeignCode::PaymentLink(wallet)) => {
            let (zh, en) = name(wallet);
            (
                format!("这是{zh}的支付链接，不是付款码或账单条码。"),
                format!("This is an address that opens a payment in {en}, not a payment code or a bill's bar code."),
            )
        }
        Some(ForeignCode::UnionPayPaymentCode) => both(
            "这是银联（云闪付）付款码，这里只能退微信支付和支付宝的订单。",
            "This is a payment code of UnionPay; only WeChat Pay and Alipay orders can be refunded here.",
        ),
        Some(ForeignCode::UnionPayCollecting) => both(
            "这是银联二维码，用来收钱，不能用来退款。",
            "This is a UnionPay code to be paid by: it takes money and can't give it back.",
        ),
        Some(ForeignCode::Emv) => both(
            "这是EMV商户收款码，用来收钱，不能用来退款。",
            "This is an EMV merchant code: it takes money and can't give it back.",
        ),
        Some(ForeignCode::Address) => both(
            "这是一个网址，不是付款码、账单条码或退款凭证。",
            "This is an address, neither a payment code, nor the code of a bill, nor a voucher.",
        ),
        None => both(
            "画面中的码不是付款码、账单条码或退款凭证。",
            "The code is neither a payment code, nor the code of a bill, nor a voucher.",
        ),
    }
}
