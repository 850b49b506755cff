// A cache unit's rigs one after the other: at 2 and 32 channels, with RTL_MORE at 1 and 4 too, where those have twice as
// many cases. With LONE_RIG, for coverage and mutants, one of 2 channels has as many cases as all of them: the others take
// minutes to compile.
`default_nettype none
module cache_rigs #(
  parameter acc_pkg::opcode_e Op = acc_pkg::OpKvw,
  parameter int Cases = 1  // at 2 and at 32 channels, times RTL_MORE; three times as many in the suite, which has just these
) (
  output logic done_o
);
`ifdef LONE_RIG
  logic done;
  cache_rig #(.Op(Op), .Channels(2), .Cases(18 * Cases)) u_lone (.start_i(1'b1), .done_o(done));
  initial begin
    done_o = 1'b0;
    wait (done);
    $display("ok at 2 channels");
    done_o = 1'b1;
  end
`else
  localparam logic Few = tb_pkg::More == 1;  // each number of channels takes as long to compile
  localparam int   Each = Cases * (Few ? 3 : tb_pkg::More);
  logic [3:0] done;
  cache_rig #(.Op(Op), .Channels(2), .Cases(Each)) u_two (.start_i(1'b1), .done_o(done[0]));
  cache_rig #(.Op(Op), .Channels(32), .Cases(Each)) u_many (.start_i(done[0]), .done_o(done[1]));
  if (Few) begin : gen_few
    assign done[3:2] = 2'b11;
  end else begin : gen_more
    cache_rig #(.Op(Op), .Channels(1), .Cases(2 * Each)) u_one (.start_i(done[1]), .done_o(done[2]));
    cache_rig #(.Op(Op), .Channels(4), .Cases(2 * Each)) u_four (.start_i(done[2]), .done_o(done[3]));
  end
  initial begin
    done_o = 1'b0;
    wait (done == 4'b1111);
    $display("ok at %s", Few ? "2 and 32 channels" : "1, 2, 4 and 32 channels");
    done_o = 1'b1;
  end
`endif
endmodule
`default_nettype wire
