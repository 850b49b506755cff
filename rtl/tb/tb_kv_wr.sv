// acc_kv_wr at 2 and 32 channels, with RTL_MORE at 1 and 4 too, against the device model's KVW.
`default_nettype none
module tb_kv_wr (
  output logic done_o
);
  localparam logic Few = tb_pkg::More == 1;  // each number of channels takes as long to compile
  logic [3:0] done;
  cache_rig #(.Op(acc_pkg::OpKvw), .Channels(2), .Cases(Few ? 12 : 4 * tb_pkg::More)) u_two (
      .start_i(1'b1), .done_o(done[0]));
  cache_rig #(.Op(acc_pkg::OpKvw), .Channels(32), .Cases(Few ? 12 : 4 * tb_pkg::More)) u_many (
      .start_i(done[0]), .done_o(done[1]));
  if (Few) begin : gen_few
    assign done[3:2] = 2'b11;
  end else begin : gen_more
    cache_rig #(.Op(acc_pkg::OpKvw), .Channels(1), .Cases(8 * tb_pkg::More)) u_one (
        .start_i(done[1]), .done_o(done[2]));
    cache_rig #(.Op(acc_pkg::OpKvw), .Channels(4), .Cases(8 * tb_pkg::More)) u_four (
        .start_i(done[2]), .done_o(done[3]));
  end
  initial begin
    done_o = 1'b0;
    wait (done == 4'b1111);
    $display("ok kv_wr: %s", Few ? "2 and 32 channels" : "1, 2, 4 and 32 channels");
    done_o = 1'b1;
  end
endmodule
`default_nettype wire
